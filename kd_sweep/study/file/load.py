"""Loading of a study file into a validated `StudySpec`. Every mistake is one line with the line of the file."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.catalogue.plugins import RAISED, UnloadablePluginError, described, load_plugins, origin
from kd_sweep.catalogue.selecting_section import OTHER_PLUGINS, SEARCHED
from kd_sweep.errors import KdSweepError, SpecError, alternatives
from kd_sweep.study.file.messages import RuleError, rule_broken
from kd_sweep.study.file.overrides import apply_overrides
from kd_sweep.study.file.yaml_reader import Document, KeyPath, one_line, read_yaml, shown
from kd_sweep.study.space.rules import validate_space
from kd_sweep.study.spec import StudySpec

MAX_FILE_BYTES = 1 << 20
SUFFIXES = (".yaml", ".yml")


def load_spec(path: Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and check a study file.

    Args:
        path: the YAML file; errors name it as given here.
        overrides: `dotted.path=YAML value` each, as after `--set`; they change the file's content before it is checked.

    Raises:
        SpecError: one line with rule, value, file and line or the override, and alternatives.
    """
    return parse_spec(read_text(path), str(path), overrides, path.parent)


def parse_spec(text: str, source: str, overrides: Sequence[str] = (), folder: Path | None = None) -> StudySpec:
    """Check a study given as YAML text.

    Args:
        text: the YAML.
        source: what errors call it.
        overrides: as for `load_spec`.
        folder: where modules of its plug-ins may lie.
    """
    document = read_yaml(text, one_line(source, len(source)))
    override(document, overrides, folder)
    return spec_of(document)


def override(document: Document, overrides: Sequence[str], folder: Path | None) -> None:
    """Change ``document`` in place by ``overrides``, and load the plug-ins that it names then.

    Those of `plugins` come first: an override that names another scheduler drops keys that this one does not have.

    Args:
        document: a study file's content.
        overrides: as for `load_spec`.
        folder: of the file, where modules may lie.

    Raises:
        SpecError: an override is none, or a plug-in cannot be loaded.
    """
    of_plugins = [text for text in overrides if is_of_plugins(text.partition("=")[0])]
    apply_overrides(document, of_plugins)
    load_named_plugins(document, folder)
    apply_overrides(document, [text for text in overrides if text not in of_plugins])


def is_of_plugins(key: str) -> bool:
    """Whether a dotted name is that of the modules of plug-ins."""
    return key.strip().partition(".")[0] == "plugins"


def spec_of(document: Document, *, frozen: bool = False) -> StudySpec:
    """Check a study file's content, whose plug-ins are loaded.

    Args:
        document: the content.
        frozen: it is a study as it was launched, whose plug-ins may be elsewhere: its fields were checked then, and
            only their types are now.

    Raises:
        SpecError: as `load_spec`.
    """
    content = document.content
    if content is None:
        raise document.error((), "is empty; a study needs at least a name, such as `name: digits`")
    if not isinstance(content, dict):
        raise document.error((), f"is not a study: {shown(content)} instead of keys such as name, data and search")
    # The end of a frozen study holds where it came from. That is no setting: such a file can be launched as it is.
    content = {key: value for key, value in content.items() if key != "provenance" or not isinstance(value, dict)}
    content, alone = _scalars_as_grids(content)
    try:
        context = {SEARCHED: _searched_names(content), OTHER_PLUGINS: frozen and _has_other_plugins(content)}
        spec = StudySpec.model_validate_json(json.dumps(content), context=context)
        if not frozen:
            validate_space(spec)
    except ValidationError as error:
        broken = rule_broken(error, document.numbers)
    except RuleError as error:
        broken = error
    except RAISED as error:
        if isinstance(error, KdSweepError) or origin(error) is None:
            raise
        raise document.error((), f"a check of a plug-in's parameters raised {described(error)}") from error
    else:
        return spec
    path = broken.path
    raise document.error(path[:2] if path[:2] in alone else path, broken.rule) from None


def load_named_plugins(document: Document, folder: Path | None) -> None:
    """Import the plug-ins that a study file names. Where it does not name them as it must, `spec_of` says so.

    Args:
        document: the file's content.
        folder: of the file, where modules may lie.

    Raises:
        SpecError: a module is missing, raises, or registers nothing. One line, as for `load_spec`.
    """
    modules = document.content.get("plugins") if isinstance(document.content, dict) else None
    if isinstance(modules, list) and all(isinstance(module, str) for module in modules):
        try:
            load_plugins(modules, folder)
        except UnloadablePluginError as error:
            raise document.error(("plugins", error.index), str(error)) from None


def _has_other_plugins(content: Mapping[str, Any]) -> bool:
    """Return whether a plug-in of a frozen study is loaded in another version than it was launched with."""
    modules = content.get("plugins") or ()
    if not all(module in sys.modules for module in modules):
        return False
    return bool(modules) and PluginBundle.of_modules(modules).digest != content.get("plugins_digest")


def _searched_names(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the texts that a study's search lists for each field, such as the names of several losses."""
    search = content.get("search")
    names: dict[str, list[str]] = {}
    for field, dimension in search.items() if isinstance(search, dict) else ():
        listed = (dimension.get("grid") or dimension.get("choice")) if isinstance(dimension, dict) else None
        names[field] = [value for value in listed if isinstance(value, str)] if isinstance(listed, list) else []
    return names


def read_text(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of a study file of at most ``max_bytes``.

    Raises:
        SpecError: it is missing (with the nearest file there), a folder, unreadable, too large or not UTF-8.
    """
    source = one_line(str(path), len(str(path)))
    try:
        if path.is_dir():
            raise SpecError(f"{source}: is a folder, not a study file{_study_files(path, '')}")
        if not path.exists():
            raise SpecError(f"{source}: no such file{_study_files(path.parent, path.name)}")
        if not path.is_file():
            raise SpecError(f"{source}: is not a regular file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SpecError(f"{source}: cannot be read: {one_line(reason)}") from None
    if len(content) > max_bytes:
        raise SpecError(f"{source}: is larger than {max_bytes} bytes, which no study needs")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{source}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8 text") from None


def _study_files(folder: Path, name: str) -> str:
    """Return `; possible: …` with the study files in ``folder``."""
    if not folder.is_dir():
        return f"; there is no folder {one_line(str(folder), 200)} either"
    names = [entry.name for entry in folder.iterdir() if entry.suffix in SUFFIXES]
    return f"; {one_line(alternatives(name, names, suffixes=SUFFIXES))}" if names else ""


def _scalars_as_grids(content: dict[str, object]) -> tuple[dict[str, object], set[KeyPath]]:
    """Write `seed: 0` as `seed: {grid: [0]}`, and return which dimensions were written so."""
    search = content.get("search")
    if not isinstance(search, dict):
        return content, set()
    alone = {name for name, value in search.items() if isinstance(value, bool | int | float | str)}
    full = {name: {"grid": [value]} if name in alone else value for name, value in search.items()}
    return content | {"search": full}, {("search", name) for name in alone}
