"""Numbers and lists in plain words."""

from collections.abc import Sequence

from kd_sweep.statistics.intervals import Interval


def number(value: float) -> str:
    """Return a change with its sign, to four decimals or, where it is smaller, three digits."""
    return f"{value:+.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:+.2e}"


def between(interval: Interval) -> str:
    """Return the two ends of an interval, as `number` has them."""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def probability(p: float) -> str:
    """Return a p value to two digits."""
    return f"{p:.2g}" if p >= 0.001 else "below 0.001"


def counted(count: int, noun: str) -> str:
    """Return a number of things, `1 seed` or `3 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """Return items as prose: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
