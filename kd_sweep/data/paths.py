"""Paths that a study file names: the parameter of datasets that lie at one, and absolute paths."""

from pathlib import Path

from pydantic import model_validator

from kd_sweep.catalogue.parameters import Parameters
from kd_sweep.errors import DataError


class PathParameters(Parameters):
    """Of such datasets."""

    path: str | None = None
    """Where the dataset lies; for an `image_list`, the folder that the paths in the lists start from."""

    @model_validator(mode="after")
    def _path_is_given(self) -> "PathParameters":
        if not self.path:
            raise ValueError(f"path is needed for data.name {dataset_name(self)!r}")
        return self

    @property
    def location(self) -> str:
        """The path, which is always there."""
        return self.path or ""


def dataset_name(section: Parameters) -> str:
    """Return the name of the dataset in whose section the parameters are."""
    return str(getattr(section, "name", ""))


def absolute_path(path: str, field: str) -> Path:
    """Return ``path`` as an absolute one; ``field`` names it in messages.

    Raises:
        DataError: no file can have this path: no such user, too long, links without end.
    """
    try:
        resolved = Path(path).expanduser().resolve()
        resolved.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "no such path"
        raise DataError(f"{field}: {path!r} cannot be a path ({reason})") from None
    return resolved


def dataset_root(path: str, rule: str) -> Path:
    """Return `data.path` as an absolute path of a folder.

    Args:
        path: as the study file has it.
        rule: ends the message: the layout that is expected there.

    Raises:
        DataError: it does not exist or is a file.
    """
    root = absolute_path(path, "data.path")
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"data.path: {path} {problem}; {rule}")
    return root
