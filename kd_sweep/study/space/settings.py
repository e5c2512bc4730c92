"""The fields of a search that belong to no section: strengths, ensembles and seed, and what a trial has of them."""

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, Field

from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.catalogue.lookup import entry_of, unknown
from kd_sweep.catalogue.parameters import Seed, Strict
from kd_sweep.study.recipe import Fraction, Learner
from kd_sweep.study.trial import MAX_TEACHERS, Settings, Strengths, mean_strength


def _network(name: str) -> str:
    """Return a model as a section holds it."""
    if entry_of(NETWORK, name) is None:
        raise ValueError(unknown(NETWORK, name))
    return Learner(model=name).model


Models = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(min_length=1, max_length=MAX_TEACHERS)]
"""Of an ensemble, member 1 first."""


class SearchSettings(Strict):
    """The strengths, size and seed as a study's search names them; `trial_settings` turns them into a trial's."""

    augmentation_strength: Fraction = 0.0
    """Shorthand for both: the strength of every teacher, and of the student. 0: clean images. 1: the strongest."""
    ensemble_size: Annotated[int, Field(ge=1, le=MAX_TEACHERS)] = 1
    """How many teachers. Where it is not searched, as many as a study's `teachers` has entries."""
    seed: Seed = 0
    teacher_strengths: Strengths | None = None
    """The strength at which each teacher is trained, member 1 first, instead of the two fields above."""
    student_strength: Fraction | None = None
    """The strength of the images that the student sees. Null: the mean of its teachers'."""
    student_order_seed: Seed | None = None
    """Seed of the order in which the student sees its images. Null: `seed`, as of the next two."""
    student_initialisation_seed: Seed | None = None
    """Seed of the student's initial weights, and of what its network draws while it learns, such as dropout."""
    student_augmentation_seed: Seed | None = None
    """Seed of the augmentation of the student's images."""
    teacher_models: Models | None = None
    """The model of each teacher, member 1 first, instead of the size."""


def trial_settings(
    augmentation_strength: float,
    ensemble_size: int,
    seed: int,
    teacher_strengths: tuple[float, ...] | None,
    student_strength: float | None,
    teacher_models: tuple[str, ...] | None,
    **levels: int | None,
) -> Settings:
    """Return the strengths and the seed that a trial holds.

    Args:
        augmentation_strength: of `SearchSettings`, in canonical form, as are the next five.
        ensemble_size: without effect with ``teacher_strengths``, as is the strength, and with ``teacher_models``.
        seed: the trial's.
        teacher_strengths: None where the teachers are alike.
        student_strength: None where it is the mean of the teachers'.
        teacher_models: None where a search lists none; they are as many as ``teacher_strengths``.
        levels: the seeds that stand for ``seed`` where they are not None, by `SEED_LEVELS`.
    """
    size = ensemble_size if teacher_models is None else len(teacher_models)
    teachers = teacher_strengths or (augmentation_strength,) * size
    of_student = mean_strength(teachers) if student_strength is None else student_strength
    return Settings(teachers, of_student, seed, **{name: None if one == seed else one for name, one in levels.items()})


def repeated_setting(names: Collection[str]) -> tuple[str, str] | None:
    """Return the first name that cannot go with a list for each ensemble, and the rule; None where all go together."""
    size = "is the length of each list in search.{}; leave one of the two out"
    rules = {
        ("ensemble_size", "teacher_strengths"): size.format("teacher_strengths"),
        ("augmentation_strength", "teacher_strengths"): "sets the strength of every teacher, as "
        "search.teacher_strengths does; leave one of the two out; the student's own is student_strength",
        ("ensemble_size", "teacher_models"): size.format("teacher_models"),
    }
    return next(((name, rule) for (name, other), rule in rules.items() if {name, other} <= set(names)), None)
