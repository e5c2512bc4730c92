"""The trials that a study plans, for those who must not import its plug-ins.

Two studies of a root may have two versions of a plug-in, of which a process can import one. So they are listed in a
process of their own, and read here as they are stored.
"""

import subprocess
import sys
from collections.abc import Iterator

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import KdSweepError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig


def planned_configs(folder: StudyFolder, spec: StudySpec) -> Iterator[TrialConfig]:
    """Yield the trials of a `grid` or `random` study; none of the others.

    Args:
        folder: of the study.
        spec: its frozen spec.

    Raises:
        StorageError: its plug-ins cannot be imported.
    """
    if not spec.plugins:
        yield from (trial.config for trial in planned_trials(spec))
        return
    command = [sys.executable, "-m", __name__, folder.storage.location, folder.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StorageError(f"{folder.study}: what it plans is not known without its plug-ins: {reason}")
    yield from map(TrialConfig.model_validate_json, done.stdout.splitlines())


def main(root: str, study: str) -> int:
    """Print the trials that a study plans, each on a line."""
    try:
        folder = StudyFolder(Root.open(root), study)
        for trial in planned_trials(folder.load_plugins(folder.spec())):
            print(trial.config.model_dump_json())
    except KdSweepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
