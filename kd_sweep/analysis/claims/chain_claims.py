"""The links between the paper's claims: what each says of two outcomes, and of what one carries for the other."""

from collections.abc import Iterator
from dataclasses import dataclass

from kd_sweep.analysis.chain import taught_arms
from kd_sweep.analysis.claims.paper_claims import GAPS, IOU, OVERLAP, Claim, Question
from kd_sweep.analysis.sample import Sample


@dataclass(frozen=True)
class ChainClaim:
    """Two outcomes go together, and so one carries a part of the effect that strength has on the other."""

    together: Claim
    """Of the outcome with the mediator; its direction is the sign of the slope."""
    carries: Claim
    """Of strength through the mediator; its direction is that in which the outcome moves."""
    mediators: tuple[str, ...]
    """The first that the study has counts."""


CHAIN_CLAIMS = (
    ChainClaim(
        Claim("students copy teachers more whose attention overlaps more", ("fidelity_val",), 1),
        Claim("the overlap of the teachers' attention carries a fall of fidelity", ("fidelity_val",), -1),
        (OVERLAP, IOU),
    ),
    ChainClaim(
        Claim("students that copy their teachers less are more accurate", ("val_accuracy",), -1),
        Claim("fidelity carries a rise of the student's accuracy", ("val_accuracy",), 1),
        ("fidelity_val",),
    ),
    ChainClaim(
        Claim("students that copy their teachers less have a narrower generalization gap", GAPS[::-1], 1, measure=abs),
        Claim("fidelity carries a narrowing of the generalization gap", GAPS[::-1], -1, measure=abs),
        ("fidelity_val",),
    ),
)
"""Which way each goes follows from the paper's claims about strength."""


def chain_questions(sample: Sample) -> Iterator[Question]:
    """Yield what is judged of outcomes that go together; one with a reason where a study has no such two."""
    for claim in CHAIN_CLAIMS:
        mediator, outcome = (
            next((name for name in names if name in sample.outcomes), None)
            for names in (claim.mediators, claim.together.outcomes)
        )
        arms = [] if mediator is None or outcome is None else list(taught_arms(sample, mediator, outcome))
        for arm, settings in arms:
            reason = None if len(settings) > 1 else "all of its trials have one setting"
            yield Question(claim.together, outcome, None, arm, tuple(settings), reason, mediator)
        if not arms:
            names = f"{claim.mediators[0]} and {claim.together.outcomes[0]}"
            yield Question(claim.together, None, reason=f"no completed trial of a taught student has {names}")
