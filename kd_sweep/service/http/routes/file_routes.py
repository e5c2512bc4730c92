"""Routes of files: those of a study, and the trained students of its trials."""

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import pyarrow as pa
from fastapi import Path, Request
from fastapi.responses import StreamingResponse

from kd_sweep.distill.checkpoints import CHECKPOINTS, checkpoints_in
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import StudyName, TrialId, trial_named
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.service_errors import NotFoundError
from kd_sweep.storage.root import Root

router = api_router("files", ForViewers)
_CHUNK_BYTES = 1 << 20


@router.get("/studies/{name}/files")
def files(request: Request, name: StudyName) -> dict[str, Any]:
    """The files of a study with their sizes in bytes: tables, frozen study, notes, checkpoints."""
    folder = serving_of(request).reading.study(name).root
    sizes = {path: size for path, size in folder.sizes().items() if _is_shown(path)}
    return {"files": [{"path": path, "bytes": size} for path, size in sorted(sizes.items())]}


@router.get("/studies/{name}/trials/{trial_id}/files")
def files_of_trial(request: Request, name: StudyName, trial_id: TrialId) -> dict[str, Any]:
    """The student of a trial after its last and, where it is another, its best epoch: safetensors, with their paths."""
    serving = serving_of(request)
    found = trial_named(serving, name, trial_id)
    location = f"{CHECKPOINTS}/{found.trial_id}"
    kept = checkpoints_in(serving.reading.study(name).root.child(CHECKPOINTS).child(found.trial_id))
    rows = [
        {"epoch": which.partition(".")[0], "path": f"{location}/{file.name}", "bytes": file.root.size(file.name)}
        for which, file in kept.items()
    ]
    return {"trial_id": found.trial_id, "files": rows}


@router.get(
    "/studies/{name}/files/{path:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def file(
    request: Request, name: StudyName, path: Annotated[str, Path(max_length=1000, description="As listed.")]
) -> StreamingResponse:
    """A file of a study, as it was when the answer began."""
    folder = serving_of(request).reading.study(name).root
    opened, size = _opened(folder, name, path)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
        "Cache-Control": "private, no-cache",
    }
    return StreamingResponse(_chunks(opened), 200, headers, "application/octet-stream")


def _opened(folder: Root, study: str, path: str) -> tuple[pa.NativeFile, int]:
    """Return a file of a study and its length; `NotFoundError` for any other path, whatever it leads to."""
    missing = NotFoundError(f"file: {path!r} is not a file of study {study!r}; see its list of files")
    if not _is_shown(path) or not folder.exists(path) or folder.is_folder(path):
        raise missing
    if folder.is_local and not folder.local_path(path).resolve().is_relative_to(folder.local_path().resolve()):
        raise missing
    try:
        opened = folder.open_input(path)
    except FileNotFoundError:  # it has just been replaced or merged
        raise missing from None
    return opened, opened.size()


def _is_shown(path: str) -> bool:
    """Whether a path is one of a listing: relative, without steps upwards, without hidden names."""
    parts = path.split("/")
    return "\\" not in path and "\0" not in path and all(part and not part.startswith(".") for part in parts)


def _chunks(opened: pa.NativeFile) -> Iterator[bytes]:
    with opened:
        while chunk := opened.read(_CHUNK_BYTES):
            yield chunk
