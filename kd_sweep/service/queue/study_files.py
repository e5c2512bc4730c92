"""The check of a submitted study file: in this process where all of it is built in, else in one of its own.

A plug-in runs code of its user's when it is imported, and may load torch. The service never does that itself.
"""

import importlib.metadata
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from kd_sweep.catalogue.plugins import ENTRY_POINTS
from kd_sweep.errors import SpecError
from kd_sweep.service.queue.policy import Policy, num_trials
from kd_sweep.service.service_errors import PolicyError
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.file.load import MAX_FILE_BYTES, spec_of
from kd_sweep.study.file.overrides import apply_overrides
from kd_sweep.study.file.yaml_reader import Document, one_line, read_yaml
from kd_sweep.study.file.yaml_writer import yaml_text

SOURCE = "study"
"""What messages call a study file that came without a name."""
MAX_VALUES = 10_000
"""That a submitted study may hold: to read them takes a second, for which others wait."""
MAX_PLUGIN_BYTES = 4 << 20
"""Of the source of all plug-ins of a study, packed and unpacked."""
CHECK_S = 60.0
"""How long the import of plug-ins may take."""
_CHECK = "kd_sweep.service.queue.plugin_check"


@dataclass(frozen=True)
class CheckedStudy:
    """A study file that breaks no rule, and that a server's policy allows."""

    name: str
    yaml: str
    plugins_zip: bytes | None
    num_trials: int
    """At most."""


def check(study_yaml: str, policy: Policy, plugins_zip: bytes | None = None) -> CheckedStudy:
    """Return the study that a submission asks for. Needs no database; takes seconds where there are plug-ins.

    Args:
        study_yaml: the study file.
        policy: what the server allows.
        plugins_zip: the modules that it names in `plugins`, by their paths below the folder of the study file.

    Raises:
        SpecError: the study breaks a rule. One line with field, rule, value and line of the file.
        PluginError: a plug-in cannot be imported.
        PolicyError: this server does not allow what it names.
    """
    document = read_study(study_yaml)
    if plugins_zip is not None:
        policy.check_plugins("plugins", "the code that came with the study")
        check_archive(plugins_zip)
    elif (foreign := _foreign_name(document)) is None:
        spec = spec_of(document)
        policy.check(spec)
        return CheckedStudy(spec.name, study_yaml, None, num_trials(spec))
    else:
        policy.check_plugins(*foreign)
    return _checked_elsewhere(study_yaml, policy, plugins_zip)


def read_study(study_yaml: str) -> Document:
    """Return the content of a study file; `SpecError` where it is too large, holds too many values, or is no YAML."""
    if len(study_yaml.encode()) > MAX_FILE_BYTES:
        raise SpecError(f"{SOURCE}: is larger than {MAX_FILE_BYTES} bytes, which no study needs")
    return read_yaml(study_yaml, SOURCE, max_nodes=MAX_VALUES)


def with_changes(study_yaml: str, overrides: Sequence[str], name: str | None = None) -> str:
    """Return a study file with fields replaced; where there are any, without its comments.

    Args:
        study_yaml: the study file.
        overrides: `dotted.path=YAML value` each, as behind `--set`.
        name: the new name of the study; its own when None.

    Raises:
        SpecError: an override is none. Whether the study that comes of it breaks a rule, `check` says.
    """
    changes = [*overrides, *([] if name is None else [f"name={json.dumps(name)}"])]
    if not changes:
        return study_yaml
    document = read_study(study_yaml)
    apply_overrides(document, changes)
    return yaml_text(document.content)


def check_archive(content: bytes) -> None:
    """Raise `SpecError` where a ZIP file is none, is too large, or holds files that lie elsewhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SpecError(f"plugins: the file with their source is no ZIP file ({one_line(str(error))})") from None
    for info in infos:
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
            raise SpecError(f"plugins: {one_line(info.filename, 100)!r} leads out of the folder of the study file")
    if max(len(content), sum(info.file_size for info in infos)) > MAX_PLUGIN_BYTES:
        raise SpecError(f"plugins: their source is larger than {MAX_PLUGIN_BYTES} bytes")


def unpack(content: bytes, folder: Path) -> None:
    """Write the files of an archive that `check_archive` has passed below a folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)


def _foreign_name(document: Document) -> tuple[str, str] | None:
    """Return the first field whose value makes kd_sweep import code of others, and what it names; None without one."""
    content = document.content
    if not isinstance(content, dict):
        return None
    if content.get("plugins"):
        return "plugins", one_line(str(content["plugins"]), 100)
    packages = _announced()
    for field, text in _texts(content, ""):
        if text.partition(":")[0] in packages and ":" in text:
            return field, one_line(text, 100)
    return None


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{field}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, field)


@cache
def _announced() -> frozenset[str]:
    """Return the installed packages that a study can name entries of without naming them in `plugins`."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return frozenset(point.module.partition(".")[0] for point in points)


def _checked_elsewhere(study_yaml: str, policy: Policy, plugins_zip: bytes | None) -> CheckedStudy:
    """Check the study in a process of its own, which imports its plug-ins."""
    with scratch_folder("submission") as folder:
        if plugins_zip is not None:
            unpack(plugins_zip, folder)
        request, answer_file = folder / ".request.json", folder / ".answer.json"
        request.write_text(json.dumps({"study_yaml": study_yaml, "policy": policy.as_json()}))
        command = [sys.executable, "-m", _CHECK, str(request), str(answer_file)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=CHECK_S, check=False, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise SpecError(f"plugins: their import takes longer than {CHECK_S:.0f} s") from None
        if done.returncode or not answer_file.exists():
            raise SpecError(f"plugins: the process that imported them ended with exit code {done.returncode}")
        answer = json.loads(answer_file.read_bytes())
    if "error" in answer:
        kind = PolicyError if answer["is_of_policy"] else SpecError
        raise kind(answer["error"].replace(f"{folder}", "the folder of the study file"))
    return CheckedStudy(answer["name"], study_yaml, plugins_zip, answer["num_trials"])
