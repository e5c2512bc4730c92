"""The route of logs: what the drivers of a study have printed, on from where a client has read."""

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Query, Request

from kd_sweep.redaction import redacted
from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import After, StudyName
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.supervision.run_folder import RunFolder

router = api_router("logs", ForViewers)
MOST_BYTES = 1 << 20


@router.get("/studies/{name}/logs")
def logs(
    request: Request,
    name: StudyName,
    after: After = None,
    limit: Annotated[int, Query(ge=1000, le=MOST_BYTES, description="The most bytes.")] = 1 << 16,
) -> dict[str, Any]:
    """What the drivers of a study have printed, whole lines: the end of it, or what came behind the cursor.

    `next` is the cursor behind `text`, also where there is nothing new; `run_id` is the run that printed it.
    """
    serving = serving_of(request)
    with serving.rows.reading() as session:
        submission = get(session, name)
    runs = _runs(serving.state / "runs", submission.id)
    if not runs:
        return {"run_id": None, "text": "", "next": after}
    run, offset = (runs[-1].path.name, None) if after is None else key_of(after, str, int)
    index = next((number for number, one in enumerate(runs) if one.path.name == run), 0)
    text, offset = runs[index].read_log(offset, limit)
    if not text and index + 1 < len(runs) and after is not None:
        index += 1
        text, offset = runs[index].read_log(0, limit)
    run_id = runs[index].path.name
    return {"run_id": run_id, "text": redacted(text), "next": cursor_of(run_id, offset)}


def _runs(folder: FilePath, submission_id: int) -> list[RunFolder]:
    """Return the runs of a study that have printed something, the oldest first."""
    found = [RunFolder(path) for path in folder.glob(f"{submission_id}-*")]
    with_logs = [run for run in found if run.log.exists()]
    return sorted(with_logs, key=lambda run: run.log.stat().st_mtime)  # of one study one runs at a time
