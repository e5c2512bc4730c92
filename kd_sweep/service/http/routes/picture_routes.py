"""Routes of sheets of images: where a trial's networks look, and what a study's augmentations do."""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from kd_sweep.service.http.answers.negotiation import is_known, not_modified
from kd_sweep.service.http.answers.study_content import study_file
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.child_process import run_child
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import StudyName, TrialId, trial_named
from kd_sweep.service.http.serving import Serving, serving_of
from kd_sweep.service.queue.study_files import check
from kd_sweep.storage.temporary_folders import scratch_folder

router = api_router("images", ForViewers)
DRAW_S = 120.0
_FOLDER = "images"
"""Of the state folder: what was drawn, by a digest of what it shows."""
_KEPT = 500
_PNG: dict[int | str, dict[str, object]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "`If-None-Match` has the tag of this image."},
}
NumImages = Annotated[int, Query(ge=1, le=64, description="Validation images, from every class in turn.")]


@router.get("/studies/{name}/trials/{trial_id}/attention.png", response_class=Response, responses=_PNG)
def attention(
    request: Request,
    name: StudyName,
    trial_id: TrialId,
    images: NumImages = 8,
    epoch: Annotated[Literal["last", "best"], Query(description="After which the student is shown.")] = "last",
) -> Response:
    """Attention of a trial's teachers and student over validation images, with the IoU of regions: a PNG."""
    serving = serving_of(request)
    trial = trial_named(serving, name, trial_id)
    folder = serving.reading.study(name).root
    shown = ("attention", str(folder), trial.trial_id, images, epoch, trial.row[f"{epoch}_epoch"])
    best = ["--best"] if epoch == "best" else []

    def draw(out: Path) -> None:
        command = ["attention", str(folder), trial.trial_id, "--out", str(out), "--images", str(images), *best]
        run_child("kd_sweep", command, DRAW_S)

    return _image(request, serving, shown, draw)


@router.get("/studies/{name}/augmentations.png", response_class=Response, responses=_PNG)
def augmentations(request: Request, name: StudyName, images: NumImages = 8) -> Response:
    """The same images at each strength of a study: a PNG."""
    serving = serving_of(request)
    text = study_file(serving, name)
    check(text, serving.policy)

    def draw(out: Path) -> None:
        with scratch_folder("augmentations") as folder:
            spec = folder / f"{name}.yaml"
            spec.write_text(text)
            run_child("kd_sweep", ["augmentations", spec, "--out", out, "--images", str(images)], DRAW_S)

    return _image(request, serving, ("augmentations", name, text, images), draw)


def _image(request: Request, serving: Serving, shown: tuple[object, ...], draw: Callable[[Path], None]) -> Response:
    """Return an image, drawn at the first request for what it shows."""
    digest = hashlib.sha256(repr(shown).encode()).hexdigest()
    tag = f'"{digest[:32]}"'
    if is_known(request, tag):
        return not_modified(tag)
    file = serving.state / _FOLDER / f"{digest}.png"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{secrets.token_hex(8)}.png")
        try:
            draw(unfinished)
            unfinished.rename(file)
        finally:
            unfinished.unlink(missing_ok=True)
        _forget(file.parent)
    return Response(file.read_bytes(), 200, {"ETag": tag, "Cache-Control": "private, no-cache"}, "image/png")


def _forget(folder: Path) -> None:
    """Delete the oldest images where there are too many."""
    drawn = sorted(folder.glob("*.png"), key=lambda file: file.stat().st_mtime)
    for file in drawn[: max(0, len(drawn) - _KEPT)]:
        file.unlink(missing_ok=True)
