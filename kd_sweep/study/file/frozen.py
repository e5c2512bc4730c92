"""The frozen study: the fully resolved spec that a study was launched with, and which changes to it are no mixing."""

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from kd_sweep.catalogue.selecting_section import SelectingSection, source_field
from kd_sweep.errors import SpecError, StorageError, alternatives
from kd_sweep.study.file.load import MAX_FILE_BYTES, read_text, spec_of
from kd_sweep.study.file.yaml_reader import MAX_NODES, Document, one_line, read_yaml, shown
from kd_sweep.study.file.yaml_writer import yaml_text
from kd_sweep.study.identity import IDENTITY_VERSION
from kd_sweep.study.recipe import Metrics
from kd_sweep.study.space.dimensions import extremes, searched_models
from kd_sweep.study.space.members import is_mixed, teacher_recipe
from kd_sweep.study.space.repeats import adds_seeds
from kd_sweep.study.spec import StudySpec, judged_by

SPEC_FILE = "study.yaml"
FILE_SHA256 = "file_sha256"
"""The last entry of the provenance: the SHA-256 of the whole text, taken while it is filled with zeros itself."""
IDENTITY = "identity_version"
"""The entry before it: the rules that made the study's ids."""
_ZEROS = "0" * 64
_SEAL = re.compile(rf'{FILE_SHA256}: "([0-9a-f]{{64}})"')
UNRELEASED_DIGEST = "content_digest"
"""What stood there before the first release."""
FROZEN_GROWTH = 64
"""How much larger than its study file a frozen study may be: aliases, escapes and defaults are written out."""
HEADER = """\
# The study as it was launched, with every default written out; `kd-sweep resume` reads it.
# Change the study through `kd-sweep launch` with its own file, not here: this file's checksum would no longer fit.
"""
FAILED_RULE = "failed_stopping_rule"
"""Key of the provenance: the source of a stopping rule that failed, which another one may replace."""
MIXING = ("data", "augmentation", "teacher", "student", "distillation", "metrics", "scheduler")
"""Sections in which a change would put results of two recipes under one name."""


@dataclass(frozen=True)
class FrozenStudy:
    """A study as it was launched, and where it came from."""

    text: str
    """All of it, as YAML."""
    spec: StudySpec
    provenance: dict[str, str]
    """Package versions, git revision and the like, as text."""


def freeze(spec: StudySpec, provenance: Mapping[str, str]) -> FrozenStudy:
    """Return the frozen study of this spec."""
    return FrozenStudy(frozen_yaml(spec, provenance), spec, dict(provenance))


def frozen_yaml(spec: StudySpec, provenance: Mapping[str, str]) -> str:
    """Return the fully resolved spec as YAML, with where it came from; `load_frozen` reads back an equal spec.

    Args:
        spec: the study.
        provenance: package versions, git revision and the like, kept as text.
    """
    content = spec.model_dump(mode="json")
    about = {key: str(value) for key, value in provenance.items()}
    about |= {IDENTITY: str(IDENTITY_VERSION), FILE_SHA256: _ZEROS}
    return _sealed(HEADER + yaml_text(content | {"provenance": about}))


def is_frozen(text: str) -> bool:
    """Whether a text is, or was before some damage, what `frozen_yaml` wrote; a study file of a user's own is not."""
    return text.startswith(HEADER.partition("\n")[0]) or f"{FILE_SHA256}: " in text


def load_frozen(study_dir: Path) -> FrozenStudy:
    """Return the study in this folder, as its file has it.

    Raises:
        StorageError: the folder is not a study, or its frozen spec is damaged.
    """
    path = study_dir / SPEC_FILE
    shown_dir = one_line(str(study_dir), 300)
    if not study_dir.is_dir():
        problem = "is a file" if study_dir.exists() else "no such folder"
        raise StorageError(f"{shown_dir}: {problem}, not a study{_nearby(study_dir.parent, study_dir.name)}")
    if not path.exists():
        raise StorageError(f"{shown_dir}: is not a study, it has no {SPEC_FILE}{_nearby(study_dir, '')}")
    try:
        text = read_text(path, MAX_FILE_BYTES * FROZEN_GROWTH)
    except SpecError as error:
        raise StorageError(f"damaged study: {error}") from None
    return parse_frozen(text, str(path))


def parse_frozen(text: str, source: str) -> FrozenStudy:
    """Return the study that `frozen_yaml` wrote as ``text``.

    Args:
        text: the YAML.
        source: what messages call it.

    Raises:
        StorageError: it is not what was written, or a version wrote it whose ids mean other trials.
    """
    try:
        known = _document(text, one_line(source, 300))
        document = replace(known, content=copy.deepcopy(known.content))
        _check_written(document, text)
        spec = spec_of(document, frozen=True)
    except SpecError as error:
        raise StorageError(f"damaged study: {error}") from None
    about = document.content["provenance"]
    provenance = {name: str(value) for name, value in about.items() if name not in (IDENTITY, FILE_SHA256)}
    return FrozenStudy(text, spec, provenance)


@lru_cache(maxsize=4)
def _document(text: str, source: str) -> Document:
    """Return what a frozen spec holds. A folder is asked for the same text again and again, and YAML takes long."""
    return read_yaml(text, source, max_nodes=MAX_NODES * FROZEN_GROWTH)


def check_extension(old: StudySpec, new: StudySpec, failed_rule: str | None = None) -> None:
    """Check that ``new`` can go on in the folder of ``old``: every result has the same meaning under both.

    The search space, sampler, objectives, budget, checkpoints, caches, resources, concurrency and retries may
    change, but the search space and the seeds not where seeds are added while verdicts are open. So may the
    location of the same images, and the base value of a field that both studies search without a condition, which
    no trial uses.

    Args:
        old: the study as it was launched.
        new: what it is to be.
        failed_rule: the source of a stopping rule that has failed: its own mended source may take its place.

    Raises:
        SpecError: the first field that would mix results, with both values.
    """
    searched = _always_searched(old) & _always_searched(new)
    unmixed = _unmixed(old, new, failed_rule)
    before = {name: value for name, value in _mixing_fields(old) if name not in unmixed}
    after = {name: value for name, value in _mixing_fields(new) if name not in unmixed}
    _check_warm_start(old, new)
    _check_added_seeds(old, new)
    for name in sorted(before.keys() | after.keys(), key=[*after, *before].index):
        if name in searched or before.get(name) == after.get(name):
            continue
        if name.startswith("teacher.") and (is_mixed(old) or is_mixed(new)):
            continue
        if name == "data.fingerprint":
            path = new.data.origin.get("path")
            images = (
                f"data.name: the images of {new.data.name!r}" if path is None else f"data.path: the images in {path}"
            )
            raise SpecError(
                f"{images} are not those that study {old.name!r} was launched with "
                f"(data.fingerprint {after.get(name)}, at launch {before.get(name)}); results would mix (choose "
                f"another name, or bring the old images back)"
            )
        raise _mixed(old, name, before.get(name), after.get(name))
    for name, was, would_be in _changed_teachers(old, new):
        raise _mixed(old, name, was, would_be)


def _mixed(old: StudySpec, name: str, before: Any, after: Any) -> SpecError:
    return SpecError(
        f"{name}: {shown(after)} differs from {shown(before)}, with which study {old.name!r} was launched; results "
        "would mix (choose another name, or set it back)"
    )


def _changed_teachers(old: StudySpec, new: StudySpec) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields in which the teachers of a study would be others, with both values, where teachers differ."""
    if not is_mixed(old) and not is_mixed(new):
        return
    positions: list[tuple[Any, ...]] = [(None,) * int(extremes(old, "ensemble_size")[1])]
    listed = searched_models(old) or positions
    for member, model in dict.fromkeys(pair for models in listed for pair in enumerate(models)):
        before, searched_before = teacher_recipe(old, member, model)
        after, searched_after = teacher_recipe(new, member, model or before.model)
        same_weights = before.weights_digest is not None and before.weights_digest == after.weights_digest
        skipped = {source_field(before), *(["weights"] if same_weights else [])} | (searched_before & searched_after)
        for key in dict.fromkeys((*type(before).model_fields, *type(after).model_fields)):
            values = getattr(before, key, None), getattr(after, key, None)
            if key not in skipped and values[0] != values[1]:
                yield f"teachers, member {member + 1}, {key}", *values


def _check_warm_start(old: StudySpec, new: StudySpec) -> None:
    before, after = (None if spec.warm_start is None else spec.warm_start.study for spec in (old, new))
    if before != after:
        raise SpecError(
            f"warm_start.study: {shown(after)} differs from {shown(before)}, with which study {old.name!r} was "
            "launched; it is read once, at the launch (choose another name, or set it back)"
        )


def _check_added_seeds(old: StudySpec, new: StudySpec) -> None:
    """Refuse to change what verdicts are corrected for: their error would be more than they say."""
    if not adds_seeds(old) and not adds_seeds(new):
        return
    for name, was, would_be in (("seeds", old.seeds, new.seeds), ("search", old.search, new.search)):
        if was != would_be:
            raise SpecError(
                f"{name}: cannot change in study {old.name!r}, whose seeds are added while verdicts are open: they are "
                "corrected for the seeds and the search of its launch (set it back, or choose another name; "
                "seeds.first takes seeds that no verdict knows yet)"
            )


def _unmixed(old: StudySpec, new: StudySpec, failed_rule: str | None) -> set[str]:
    """Return the fields that may differ since they say where something is, or because what they named has failed."""
    moved = old.data.fingerprint is not None and old.data.fingerprint == new.data.fingerprint
    unmixed = {f"data.{name}" for name in (*old.data.origin, *new.data.origin)} if moved else set()
    for role in ("teacher", "student"):
        digest = getattr(old, role).weights_digest
        if digest is not None and digest == getattr(new, role).weights_digest:
            unmixed.add(f"{role}.weights")
    if failed_rule is not None and old.scheduler.source == failed_rule:
        unmixed.add("scheduler.name_source")
    return unmixed


def _always_searched(spec: StudySpec) -> set[str]:
    return {name for name, dimension in spec.search.items() if not dimension.when}


def _mixing_fields(spec: StudySpec) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of every field that must not change."""
    for section in MIXING:
        content = getattr(spec, section)
        for key, value in content:
            if section == "scheduler" and key in ("metric", "mode"):
                continue
            is_source = isinstance(content, SelectingSection) and content.source_key is None
            if is_source and section != "scheduler" and key == source_field(content):
                continue  # in the ids of trials: another version makes other trials
            if isinstance(content, Metrics) and key == "extra":  # the sources are in ids, too
                value = [metric.model_dump(mode="json", exclude={source_field(metric)}) for metric in value]
            yield f"{section}.{key}", list(value) if isinstance(value, tuple) else value
    # As resolved: a scheduler without a metric of its own follows the first objective, which may change.
    judged = judged_by(spec)
    if len(judged) == 1:
        yield "scheduler.metric", judged[0].metric
        yield "scheduler.mode", judged[0].mode
    elif judged:
        yield "objectives", [f"{objective.mode} {objective.metric}" for objective in judged]


def _check_written(document: Document, text: str) -> None:
    """Raise SpecError where the text was changed or cut, StorageError where its ids were made by other rules."""
    content = document.content if isinstance(document.content, dict) else {}
    about = content.get("provenance")
    about = about if isinstance(about, dict) else {}
    made_by = "unreleased"
    if UNRELEASED_DIGEST not in about:
        _check_sum(document, text)
        made_by = str(about.get(IDENTITY))
    if made_by != str(IDENTITY_VERSION):
        raise StorageError(
            f"{document.source}: was written by a version of kd_sweep whose ids and defaults mean other trials "
            f"({IDENTITY} {made_by}, here {IDENTITY_VERSION}); go on with that version, or launch the study in "
            "another root"
        )


def _sealed(text: str) -> str:
    """Fill in the checksum of a text; whatever it held before is replaced."""
    *_, seal = _SEAL.finditer(text)
    zeroed = text[: seal.start(1)] + _ZEROS + text[seal.end(1) :]
    return zeroed[: seal.start(1)] + hashlib.sha256(zeroed.encode()).hexdigest() + zeroed[seal.end(1) :]


def _check_sum(document: Document, text: str) -> None:
    if not _SEAL.search(text):
        raise document.error((), f"has no provenance.{FILE_SHA256}: it is no frozen study, or a part of it is missing")
    if _sealed(text) != text:
        rule = "does not fit the rest of the file: it was changed after the launch, or damaged"
        raise document.error(("provenance", FILE_SHA256), rule)


def _nearby(folder: Path, name: str) -> str:
    """Return `; possible: …` with the studies in ``folder``."""
    if not folder.is_dir():
        return ""
    studies = [entry.name for entry in folder.iterdir() if (entry / SPEC_FILE).is_file()]
    return f"; {one_line(alternatives(name, studies))}" if studies else ""
