"""The process that plans a study: it may import plug-ins, and torch where a library's networks are named."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kd_sweep.api.study import Study
from kd_sweep.driver.estimate import LISTED_TRIALS, StudyPlan
from kd_sweep.errors import KdSweepError
from kd_sweep.study.space.plan import Plan


def plan_content(plan: StudyPlan) -> dict[str, Any]:
    """Return a plan as JSON has it: how much there is, how much of it is left, how long that takes."""
    estimate = plan.estimate
    return {
        "name": plan.spec.name,
        "is_exact": plan.whole.exact,
        "whole": _counts(plan.whole),
        "rest": _counts(plan.rest),
        "trials": [{"trial_id": trial.trial_id, "point": dict(trial.point)} for trial in plan.trials[:LISTED_TRIALS]],
        "estimate": None if estimate is None else asdict(estimate),
        "notes": list(plan.notes),
        "missing": plan.missing,
        "lines": list(plan.lines()),
    }


def _counts(plan: Plan) -> dict[str, int]:
    names = ("num_trials", "num_teachers", "teacher_epochs", "student_epochs")
    return {name: getattr(plan, name) for name in names}


def main(study_file: str, root: str, slots: str, answer: str) -> int:
    """Plan a study; write the plan as JSON.

    Args:
        study_file: its path.
        root: the results root.
        slots: trials at a time; empty: as many as fit on this machine.
        answer: the file to write.
    """
    try:
        plan = Study.from_file(study_file).plan(root, slots=int(slots) if slots else None)
        content = plan_content(plan)
    except KdSweepError as error:
        line = str(error).replace(study_file, "study").replace("\n", "\\n")
        print(f"kd-sweep: {line}", file=sys.stderr)
        return error.exit_code
    Path(answer).write_text(json.dumps(content, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
