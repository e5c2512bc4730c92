"""What other tools' libraries are told before they are imported: to report nothing to their makers."""

import contextlib
import os
from collections.abc import Iterator, Mapping

NO_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Set the variables by which the libraries know it, for the block."""
    before = {name: os.environ.get(name) for name in NO_REPORTS}
    _set(NO_REPORTS)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
