"""Links of the chain and what they carry, in plain words."""

from collections.abc import Iterator

from kd_sweep.analysis.chain import Link, Path
from kd_sweep.analysis.claims.paper_claims import FIDELITIES
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.wording import between, counted, number
from kd_sweep.statistics.intervals import Interval


def together_text(link: Link) -> Iterator[str]:
    """Yield how two outcomes go together within settings and seeds, and what of it is so by definition."""
    slope = link.found.slope
    yield (
        f"Beyond what settings and seeds explain, {number(slope.value)} of it goes with 1 of {link.mediator} "
        f"({counted(slope.num_clusters, 'seed')}, {counted(link.num_trials, 'trial')}; correlation "
        f"{link.found.correlation:+.2f}{_interval('; t interval', slope.t_interval)})."
    )
    if link.mediator in FIDELITIES:
        yield (
            "Where teachers are mostly right, to be right is to agree with them, so accuracy and fidelity rise "
            "together by definition."
        )


def carried_text(verdict: Verdict, path: Path, moved: tuple[str, str]) -> Iterator[str]:
    """Yield how much of an effect goes with its mediator, and what it would take for that to be something else.

    Args:
        verdict: on the claim.
        path: what it rests on.
        moved: whose strength moved, and whose was held equal, in words.
    """
    whose, held = moved
    mediator, carried = verdict.question.mediator, path.carried
    what = "its size" if verdict.question.claim.is_of_size else "it"
    yield (
        f"From {whose}strength {path.from_level:g} to {path.to_level:g}{held} {what} changes by "
        f"{number(path.effect.value)}{_interval('', path.effect.t_interval)}, and {mediator} by "
        f"{number(path.on_mediator.value)}{_interval('', path.on_mediator.t_interval)}: that much of it goes with "
        f"{number(carried.value)}{_interval('', carried.interval)}, the rest is "
        f"{number(path.effect.value - carried.value)}."
    )
    if carried.share is not None and carried.share_interval is not None:
        low, high = carried.share_interval.low, carried.share_interval.high
        yield f"That is a share of {carried.share:z.2f} [{low:z.2f}, {high:z.2f}]."
    yield (
        f"It is no proof of a cause: a hidden cause of both that explains {abs(path.rho_to_nothing):.0%} of what "
        "settings and seeds leave of each would leave nothing carried"
        + (f"; from {abs(path.rho_to_undecided):.0%} on, the slope would not be sure" if path.rho_to_undecided else "")
        + "."
    )


def _interval(before: str, interval: Interval | None) -> str:
    return "" if interval is None else f"{before} {between(interval)}"
