"""The footnotes of an answer: what has to be known of the values of some columns."""

from collections.abc import Iterable

from kd_sweep.tables.reader import Results

_OF_CAM = '"attention":"cam"'


def footnotes(results: Results, columns: Iterable[str], study: str | None = None) -> list[str]:
    """Return the warnings about the values of these columns, a line each.

    Args:
        results: the tables of the values.
        columns: names, or expressions that hold names.
        study: its name; None for all.
    """
    if not any("attention_" in name for name in columns):
        return []
    # A configuration is canonical JSON with every field.
    named = results.configurations()
    if not any(_OF_CAM in (text or "") for name, _, text in named if study in (None, name)):
        return []
    from kd_sweep.study.caveats import CAM  # it takes longer to load than most queries

    return [CAM]
