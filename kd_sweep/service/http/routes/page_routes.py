"""Routes of the page: its files from the package, its modules as one, under paths that change when a file does."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from kd_sweep.service.http.answers.negotiation import is_known, not_modified
from kd_sweep.service.http.answers.page_script import page_script
from kd_sweep.service.http.authorization import Public
from kd_sweep.service.service_errors import NotFoundError

router = APIRouter(include_in_schema=False, dependencies=[Public])
_PLACEHOLDER = b"DIGEST"
"""In `index.html`, instead of the digest of all files."""
_FIRST, _SCRIPT = "main.js", "page.js"
"""The module to begin with, and the one that is made of it and all that it imports."""
_NO_MODULES = ("theme.js", "vendor/")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class PageFiles:
    """The files of the page, read once."""

    digest: str
    """Of all of them."""
    index: bytes
    contents: Mapping[str, bytes]
    """By path below the page's folder."""
    compressed: Mapping[str, bytes]
    """Those that gzip makes smaller, so: a visit with an empty cache asks for all of them."""


@cache
def page_files() -> PageFiles:
    """Return the files of the page; a few hundred kilobytes, which stay in memory."""
    contents = dict(_read(files("kd_sweep.service") / "page", ""))
    modules = [path for path in contents if path.endswith(".js") and not path.startswith(_NO_MODULES)]
    contents[_SCRIPT] = page_script({path: contents[path].decode() for path in modules}, _FIRST).encode()
    whole = hashlib.sha256()
    for path, content in sorted(contents.items()):
        whole.update(f"{path} {len(content)}\n".encode() + content)
    digest = whole.hexdigest()[:16]
    index = contents.pop("index.html").replace(_PLACEHOLDER, digest.encode())
    packed = {path: gzip.compress(content, mtime=0) for path, content in contents.items()}
    smaller = {path: content for path, content in packed.items() if len(content) < len(contents[path])}
    return PageFiles(digest, index, contents, smaller)


@router.get("/")
async def page(request: Request) -> Response:
    """The page. What it shows it asks the API for, with a session."""
    shown = page_files()
    tag = f'"{shown.digest}"'
    if is_known(request, tag):
        return not_modified(tag)
    return Response(shown.index, 200, {"ETag": tag, "Cache-Control": "no-cache"}, "text/html; charset=utf-8")


@router.get("/page/{digest}/{path:path}")
async def page_file(request: Request, digest: str, path: Annotated[str, Path(max_length=200)]) -> Response:
    """A file of the page. Under this path it never changes."""
    shown = page_files()
    content = shown.contents.get(path) if digest == shown.digest else None
    if content is None:
        raise NotFoundError(f"page: {path!r} is no file of this page; read / again")
    suffix = f".{path.rpartition('.')[2]}"
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "text/plain"
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if path in shown.compressed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(shown.compressed[path], 200, headers | {"Content-Encoding": "gzip"}, media_type)
    return Response(content, 200, headers, media_type)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _read(item, f"{prefix}{item.name}/")
        else:
            found.append((f"{prefix}{item.name}", item.read_bytes()))
    return found
