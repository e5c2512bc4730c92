"""The route that plans a study: what it would cost, before it is submitted."""

import json
from typing import Any

from fastapi import Request

from kd_sweep.service.http.answers.study_bodies import OPENAPI_STUDY, Submitted
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.child_process import run_child
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.queue.study_files import check, unpack
from kd_sweep.storage.temporary_folders import scratch_folder

router = api_router("plan")
_MODULE = "kd_sweep.service.http.plan_process"
PLAN_S = 120.0
"""How long a plan may take: images that were never read before have to be."""


@router.post("/plan", dependencies=[ForViewers], openapi_extra=OPENAPI_STUDY)
def plan(request: Request, body: Submitted) -> dict[str, Any]:
    """What a study would run, less what the root has already, and how long that takes. Stores nothing."""
    serving = serving_of(request)
    text, archive = body.text(), body.archive
    checked = check(text, serving.policy, archive)
    with scratch_folder("plan") as folder:
        if archive is not None:
            unpack(archive, folder)
        study_file, answer = folder / f"{checked.name}.yaml", folder / ".answer.json"
        study_file.write_text(text)
        slots = "" if body.slots is None else str(body.slots)
        run_child(_MODULE, [study_file, str(serving.reading.root), slots, answer], PLAN_S)
        content: dict[str, Any] = json.loads(answer.read_bytes())
    return content
