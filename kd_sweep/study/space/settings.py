"""The fields of a search that belong to no section: strengths, ensemble size and seed, and what a trial has of them."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.study.recipe import Fraction, Seed
from kd_sweep.study.trial import MAX_TEACHERS, Settings, Strengths, mean_strength


class SearchSettings(Strict):
    """The strengths, size and seed as a study's search names them; `trial_settings` turns them into a trial's."""

    augmentation_strength: Fraction = 0.0
    """Shorthand for both: the strength of every teacher, and of the student. 0: clean images. 1: the strongest."""
    ensemble_size: Annotated[int, Field(ge=1, le=MAX_TEACHERS)] = 1
    """How many teachers."""
    seed: Seed = 0
    teacher_strengths: Strengths | None = None
    """The strength at which each teacher is trained, member 1 first, instead of the two fields above."""
    student_strength: Fraction | None = None
    """The strength of the images that the student sees. Null: the mean of its teachers'."""


def trial_settings(
    augmentation_strength: float,
    ensemble_size: int,
    seed: int,
    teacher_strengths: tuple[float, ...] | None,
    student_strength: float | None,
) -> Settings:
    """Return the strengths and the seed that a trial holds.

    Args:
        augmentation_strength: of `SearchSettings`, in canonical form, as are the next four.
        ensemble_size: without effect with ``teacher_strengths``, as is the strength.
        seed: the trial's.
        teacher_strengths: None where the teachers are alike.
        student_strength: None where it is the mean of the teachers'.
    """
    teachers = teacher_strengths or (augmentation_strength,) * ensemble_size
    return Settings(teachers, mean_strength(teachers) if student_strength is None else student_strength, seed)


def repeated_setting(names: Collection[str]) -> tuple[str, str] | None:
    """Return the first name that cannot go with `teacher_strengths`, and the rule; None where all go together."""
    rules = {
        "ensemble_size": "is the length of each list in search.teacher_strengths; leave one of the two out",
        "augmentation_strength": "sets the strength of every teacher, as search.teacher_strengths does; leave one of "
        "the two out; the student's own is student_strength",
    }
    given = (name for name in rules if name in names)
    name = next(given, None) if "teacher_strengths" in names else None
    return None if name is None else (name, rules[name])
