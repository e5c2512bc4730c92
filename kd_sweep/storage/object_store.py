"""Object stores: how they are opened, when a request is repeated, how one version of an object is read."""

import contextlib
import json
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
FALLBACK_REGION = "us-east-1"
ATTEMPTS = 10
"""Of one operation, with growing pauses: an object store under load answers 500 and 503 now and then."""
PASSING = re.compile(r"INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|TIMEOUT|NETWORK|status 5\d\d|curlCode")
"""In the messages of failures that may pass."""
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0
"""Without a byte received."""

VERSIONS = 20
"""So many versions of an object may appear while it is read."""

Result = TypeVar("Result")


def persistently(operation: Callable[[], Result]) -> Result:
    """Return the result of an operation on an object store; it is repeated after failures that may pass.

    The SDK's own retries leave out some operations. The operation must be safe to do twice.
    """
    for attempt in range(ATTEMPTS):
        try:
            return operation()
        except FileNotFoundError:
            raise
        except OSError as error:
            if attempt == ATTEMPTS - 1 or not PASSING.search(str(error)):
                raise
        time.sleep(min(5.0, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


def read_one_version(filesystem: pafs.FileSystem, path: str) -> pa.Buffer:
    """Return the content of one version of a file that is not local.

    pyarrow asks how long it is and then for so many bytes: of a longer version that has appeared in between it
    returns the beginning. Parquet and JSON show where they end: that spares a second request, and a lease that
    its holder renews more often than a slow store answers can still be read.
    """
    for _ in range(VERSIONS):
        with filesystem.open_input_file(path) as source:
            version, content = _version_of(source), source.read_buffer()
        if _is_whole(path, content):
            return content
        with filesystem.open_input_file(path) as source:
            if _version_of(source) == version:
                return content
    raise OSError(f"it was replaced {VERSIONS} times while it was read")


def _is_whole(path: str, content: pa.Buffer) -> bool:
    """Whether the content is complete to its end; False if its format does not show that."""
    if path.endswith(".parquet"):
        return bool(content.size >= 8 and content[-4:].to_pybytes() == b"PAR1")
    if path.endswith(".json"):
        with contextlib.suppress(ValueError, RecursionError):
            return isinstance(json.loads(content.to_pybytes()), dict)  # no beginning of an object is an object
    return False


def open_s3(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem and the path in it of ``s3://bucket/prefix``.

    The endpoint comes from `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, the region from `AWS_REGION` or
    `AWS_DEFAULT_REGION` (else the bucket's own), credentials from the sources of the AWS SDK: `AWS_ACCESS_KEY_ID`
    and `AWS_SECRET_ACCESS_KEY`, `AWS_PROFILE`, a role of the machine.

    Raises:
        OSError, pyarrow.ArrowException: it cannot be opened so.
    """
    parts = urlsplit(uri)
    endpoint = next((value for name in ENDPOINT_VARIABLES if (value := os.environ.get(name))), None)
    server = urlsplit(endpoint) if endpoint else None
    filesystem = pafs.S3FileSystem(
        endpoint_override=server.netloc + server.path.rstrip("/") if server else None,
        scheme=server.scheme if server else "https",
        region=_region(parts.netloc, endpoint),
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        allow_delayed_open=True,  # a small file is one request, not three
    )
    return filesystem, f"{parts.netloc}{parts.path}".rstrip("/")


def _region(bucket: str, endpoint: str | None) -> str:
    named = next((value for name in REGION_VARIABLES if (value := os.environ.get(name))), None)
    if named or endpoint:
        return named or FALLBACK_REGION
    try:
        return str(pafs.resolve_s3_region(bucket))
    except OSError:  # the first request will say what is wrong
        return FALLBACK_REGION


def _version_of(source: pa.NativeFile) -> Any:
    """Return what tells two versions of an object apart: its store's digest of it, else its size."""
    return (source.metadata() or {}).get("ETag") or source.size()
