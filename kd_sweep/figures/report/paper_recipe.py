"""The recipe of arXiv 2405.00739, as the paper's studies in sweeps/ have it, and what a study does otherwise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kd_sweep.analysis.wording import listed
from kd_sweep.catalogue.selecting_section import SelectingSection, source_field
from kd_sweep.figures.report.recipe_words import dimension_words, value_words
from kd_sweep.figures.report.shown_tables import ShownTable, shown_table
from kd_sweep.study.recipe import Data
from kd_sweep.study.space.repeats import adds_seeds, num_repeats, seeds_in_words
from kd_sweep.study.spec import Choice, Dimension, Grid, StudySpec

_SECTIONS = {
    "data": "Images",
    "augmentation": "Augmentation",
    "teacher": "Teacher",
    "student": "Student",
    "distillation": "Distillation",
    "metrics": "Metrics",
}
_NO_SETTINGS = ("fingerprint", "weights_digest", "split_seed")
"""What names images and weights, and the seed of a split that the paper's datasets bring themselves."""
_SGD = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
_LEARNER = {**_SGD, "batch_size": 128, "warmup_epochs": 8}
_LISTS = {"train_list": "train.txt", "val_list": "val.txt"}


def _paper(data: Mapping[str, Any], teacher: Mapping[str, Any], student: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of one of the paper's studies: those that all have, and these."""
    return {
        "data": {"path": "data", "image_size": 224, **data},
        "augmentation": {"pipeline": "weak_strong"},
        "teacher": {"model": "resnet50", "weights": "pretrained", **_LEARNER, **teacher},
        "student": {"model": "resnet18", **_LEARNER, **student},
        "distillation": {"loss": "kl", "temperature": 3.0, "alpha": 0.6},
        "metrics": {"attention": "cam"},
    }


def _steps(epochs: int, *milestones: int) -> dict[str, Any]:
    return {"epochs": epochs, "schedule": "step", "milestones": milestones}


_COSINE = {"epochs": 60, "schedule": "cosine"}
PAPER_RECIPES: dict[str, dict[str, Any]] = {
    "cifar100-paper": _paper({"name": "cifar100"}, _steps(61, 24, 39, 59), _steps(200, 189, 194)),
    "cifar100-imb100-paper": _paper(
        {"name": "cifar100", "imbalance_ratio": 100}, _steps(61, 54), _steps(175, 159, 164, 169)
    ),
    "imagenet-paper": _paper({"name": "image_list", **_LISTS}, _COSINE, _COSINE),
    "imagenet-lt-paper": _paper({"name": "image_list", **_LISTS}, _steps(60, 34, 49), _steps(165, 149, 154, 159)),
}
"""Sections of the paper's studies by the name of their file in sweeps/, without where images lie."""
_NO_STRENGTH = "0 (no strength is searched)"


@dataclass(frozen=True)
class PaperComparison:
    """A study's recipe beside the paper's."""

    study: str
    """The file in sweeps/ that has the paper's recipe, without its ending."""
    table: ShownTable
    """A row for each setting that differs."""
    agreed: str
    """Those that the paper names and the study has too, in one sentence; empty where there are none."""

    @property
    def about(self) -> str:
        """Return where the paper's recipe is from."""
        return (
            f"The paper's recipe is that of sweeps/{self.study}.yaml, which also says in what kd_sweep itself differs "
            "from the paper's code."
        )


def beside_the_paper(spec: StudySpec) -> PaperComparison:
    """Return what a study does otherwise than the paper.

    Of the paper's studies that one is taken that has the same dataset and, of several, fewest other settings; of a
    study of another dataset, that on CIFAR-100.
    """
    papers = {name: StudySpec.model_validate({"name": name, **content}) for name, content in PAPER_RECIPES.items()}
    alike = [name for name, paper in papers.items() if paper.data.name == spec.data.name] or ["cifar100-paper"]
    rows = {name: list(_compared(papers[name], spec)) for name in alike}
    name = min(alike, key=lambda one: sum(theirs != own for _, theirs, own in rows[one]))
    differing = [row for row in rows[name] if row[1] != row[2]]
    named = {_label(section, field) for section, fields in PAPER_RECIPES[name].items() for field in fields}
    agreed = [f"{label} {own}" for label, theirs, own in rows[name] if theirs == own and label in named]
    schema = pa.schema([("setting", pa.string()), ("the paper", pa.string()), ("this study", pa.string())])
    content = [dict(zip(schema.names, row, strict=True)) for row in differing]
    table = shown_table(pa.Table.from_pylist(content, schema), "What differs from the paper's recipe")
    return PaperComparison(name, table, f"As in the paper: {'; '.join(agreed)}." if agreed else "")


def _compared(paper: StudySpec, spec: StudySpec) -> Iterator[tuple[str, str, str]]:
    """Yield label, the paper's value and the study's of everything that one of them has."""
    for section in _SECTIONS:
        theirs, own = getattr(paper, section), getattr(spec, section)
        left_out = {*_not_settings(theirs), *_not_settings(own)}
        for field in dict.fromkeys([*type(theirs).model_fields, *type(own).model_fields]):
            if field not in left_out:
                yield _label(section, field), _value(paper, section, field), _value(spec, section, field)
    if spec.teachers:
        yield "Teachers of their own", "-", f"{len(spec.teachers)} entries, see the recipe"
    for label, said, own_words in _DESIGN:
        yield label, said or _PAPER_SIZES[paper.data.name], own_words(spec)


def _not_settings(section: Any) -> Iterator[str]:
    yield from _NO_SETTINGS
    if isinstance(section, Data):
        yield from section.origin
    if isinstance(section, SelectingSection):
        yield source_field(section)


def _label(section: str, field: str) -> str:
    return f"{_SECTIONS[section]}: {field.replace('_', ' ')}"


def _value(spec: StudySpec, section: str, field: str) -> str:
    searched = spec.search.get(f"{section}.{field}")
    if searched is not None:
        return f"searched: {dimension_words(searched)}"
    content = getattr(spec, section)
    return value_words(getattr(content, field)) if field in type(content).model_fields else "-"


def _of_teachers(spec: StudySpec) -> str:
    mixes = _lists(spec, "teacher_strengths")
    if not mixes:
        one = spec.search.get("augmentation_strength")
        return _NO_STRENGTH if one is None else f"{_strengths(spec, one)}, one for all of an ensemble"
    distinct = sorted({one for mix in mixes for one in mix})
    every = sum(len(distinct) ** size for size in {len(mix) for mix in mixes})
    how_many = "every mix" if len(set(mixes)) == every else f"{len(mixes)} mixes"
    return f"{listed([_strength(spec, one) for one in distinct])}, {how_many} in an ensemble"


def _of_student(spec: StudySpec) -> str:
    own = spec.search.get("student_strength")
    return "that of its teachers" if own is None else _strengths(spec, own)


def _lists(spec: StudySpec, name: str) -> list[tuple[Any, ...]]:
    """Return the lists that a field of lists is searched over; none where it is not searched."""
    found = spec.search.get(name)
    values = found.grid if isinstance(found, Grid) else found.choice if isinstance(found, Choice) else ()
    return [value for value in values if isinstance(value, tuple)]


def _strengths(spec: StudySpec, dimension: Dimension) -> str:
    if isinstance(dimension, Grid):
        return listed([_strength(spec, value) for value in dimension.grid])
    return dimension_words(dimension)


def _strength(spec: StudySpec, value: Any) -> str:
    names = {0.0: " (weak)", 1.0: " (strong)"} if spec.augmentation.pipeline == "weak_strong" else {}
    return f"{value_words(value)}{names.get(value, '')}"


def _sizes(spec: StudySpec) -> str:
    mixes = _lists(spec, "teacher_strengths") or _lists(spec, "teacher_models")
    if mixes:
        return listed([str(size) for size in sorted({len(mix) for mix in mixes})])
    sizes = spec.search.get("ensemble_size")
    if isinstance(sizes, Grid):
        return listed([value_words(size) for size in sizes.grid])
    return "1" if sizes is None else dimension_words(sizes)


def _seeds(spec: StudySpec) -> str:
    if adds_seeds(spec):
        return seeds_in_words(spec) or ""
    if spec.seeds:
        return str(num_repeats(spec))
    seeds = spec.search.get("seed")
    if isinstance(seeds, Grid):
        return str(len(seeds.grid))
    return "1" if seeds is None else dimension_words(seeds)


_DESIGN: tuple[tuple[str, str, Callable[[StudySpec], str]], ...] = (
    ("Strengths of teachers", "0 (weak) and 1 (strong), every mix in an ensemble", _of_teachers),
    ("Strength of the student", "0 (weak) and 1 (strong)", _of_student),
    ("Teachers in an ensemble", "", _sizes),
    ("Seeds", "1", _seeds),
    ("Early stopping", "none", lambda spec: spec.scheduler.name),
)
"""What is said of the design: a label, what the paper has, and how it is had of a study."""
_PAPER_SIZES = {"cifar100": "1, 2 and 3", "image_list": "2"}
