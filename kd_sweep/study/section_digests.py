"""What of a configuration goes into ids: its sections and scalars as canonical JSON, without what is at its default."""

from functools import lru_cache
from typing import Any

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.catalogue.selecting_section import SelectingSection
from kd_sweep.study.identity import canonical_json
from kd_sweep.study.recipe import Data, Metrics

NOTHING = "{}"
"""Of a section that is at its defaults."""


def data_identity(data: Data) -> dict[str, Any]:
    """Return what makes a dataset itself: its fingerprint, where it has one, and not its origin."""
    content = _content(data)
    if data.fingerprint is not None:
        for name in data.origin:
            content.pop(name, None)
    return content


@lru_cache(maxsize=4096)
def section_json(section: Strict) -> str:
    """Return what makes a section itself, as the canonical JSON that goes into a digest."""
    return canonical_json(data_identity(section) if isinstance(section, Data) else _content(section))


def _content(section: Strict) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a field added later, at its default, renames nothing.

    Of an entry of a plug-in every parameter counts, and its source with them, which says what the defaults were.
    """
    content = section.model_dump(mode="json", exclude_defaults=True)
    if isinstance(section, SelectingSection) and section.source is not None:
        content |= section.parameters()
    if isinstance(section, Metrics) and section.extra:
        content["extra"] = [{"name": metric.name, **_content(metric)} for metric in section.extra]
    if "weights_digest" in content:
        content.pop("weights", None)  # the location of the file, and not which it is
    return content


@lru_cache(maxsize=65536, typed=True)
def scalar_json(value: Any) -> str:
    """Return a number or text as canonical JSON."""
    return canonical_json(value)


def parts_of(config: Strict) -> dict[str, str]:
    """Return every field of a configuration that is not at its default as canonical JSON."""
    defaults = {name: field.default for name, field in type(config).model_fields.items()}
    return {
        name: section_json(value) if isinstance(value, Strict) else scalar_json(value)
        for name, value in config
        if value != defaults[name]
    }
