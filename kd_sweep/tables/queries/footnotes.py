"""The footnotes of an answer: what has to be known of the values of some columns."""

from collections.abc import Iterable

from kd_sweep.tables.reader import Results


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
    query = """SELECT count(*) AS number FROM trials
        WHERE contains(config, '"attention":"cam"') AND ($study IS NULL OR study = $study)"""
    if not results.sql(query, {"study": study})["number"][0].as_py():
        return []
    from kd_sweep.study.caveats import CAM  # it takes longer to load than most queries

    return [CAM]
