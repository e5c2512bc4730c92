"""The margins of claims that something hardly changes: how large a change may be and still be hardly any."""

from collections.abc import Iterable, Mapping

from kd_sweep.analysis.claims.paper_claims import FIDELITIES
from kd_sweep.errors import QueryError, alternatives

MARGINS = dict.fromkeys(FIDELITIES, 0.02)
"""Of the outcomes that such a claim is about, as a share of the images."""

Margins = float | Mapping[str, float]
"""One for all outcomes, or some by their outcome, beside `MARGINS`."""


def margins_of(given: Margins) -> dict[str, float]:
    """Return the margin of each outcome of `MARGINS`.

    Raises:
        QueryError: an outcome without a margin, or one out of range. One line.
    """
    own = given if isinstance(given, Mapping) else dict.fromkeys(MARGINS, given)
    for name, margin in own.items():
        if name not in MARGINS:
            raise QueryError(f"margin: no claim says that {name!r} hardly changes; {alternatives(name, MARGINS)}")
        if not 0.0 <= margin < 1.0:
            raise QueryError(f"margin: {margin:g} is not a fraction from 0 and below 1")
    return MARGINS | dict(own)


def read_margins(texts: Iterable[str]) -> dict[str, float]:
    """Return the margins that a command line gives: `0.01` for all outcomes, `fidelity_val=0.01` for one, over that.

    Raises:
        QueryError: as `margins_of`; a number that is none; an outcome that is given twice.
    """
    given: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            margin = float(value)
        except ValueError:
            raise QueryError(f"margin: {text!r} is not a number or METRIC=NUMBER, such as fidelity_val=0.01") from None
        if name in given:
            raise QueryError(f"margin: {name or 'that of all outcomes'} is given twice")
        given[name] = margin
    common = margins_of(given.pop("")) if "" in given else {}
    return common | {name: margin for name, margin in margins_of(given).items() if name in given or not common}
