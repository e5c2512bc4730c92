"""The rules of a study that span fields: what can be searched, by which sampler, judged by which metric."""

import itertools
import math
from typing import Any

from kd_sweep.catalogue.entries import entries_of
from kd_sweep.catalogue.kinds import SAMPLER
from kd_sweep.catalogue.parameters import MAX_COUNT
from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.catalogue.traits import SamplerTraits
from kd_sweep.errors import alternatives
from kd_sweep.study.extra_metrics import extra_columns, metric_named
from kd_sweep.study.file.messages import RuleError
from kd_sweep.study.file.yaml_reader import shown
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.metric_record import Null
from kd_sweep.study.recipe import Augmentation
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.sampler import GRID
from kd_sweep.study.scheduler import NO_RULE, Asked, StoppingParameters
from kd_sweep.study.space.conditions import Conditions, check_conditions, space_size
from kd_sweep.study.space.dimensions import dimension_size, extremes, listed_values, range_bounds
from kd_sweep.study.space.fields_without_effect import MAX_COMBINATIONS, check_idle
from kd_sweep.study.space.members import MODELS, entry_section
from kd_sweep.study.space.repeats import num_repeats, seeds_of
from kd_sweep.study.space.searchable_fields import (
    SearchField,
    changed_section,
    known_field,
    search_field,
    unknown_field,
)
from kd_sweep.study.space.settings import repeated_setting
from kd_sweep.study.space.teacher_rules import check_entry, check_recipes, check_shared_epochs, check_teachers
from kd_sweep.study.spec import (
    Choice,
    Dimension,
    Grid,
    IntRange,
    StudySpec,
    Uniform,
    judged_by,
)
from kd_sweep.study.trial import NO_FIXED_LOGITS, SEED_LEVELS


def validate_space(spec: StudySpec) -> None:
    """Check everything about a study that needs neither its dataset nor a cluster, beyond the fields' own limits.

    Raises:
        SpecError: one line with the field, the rule, the value and what is possible instead.
    """
    for name, dimension in spec.search.items():
        field = known_field(name)
        if field is None:
            raise RuleError(("search", name), unknown_field(name))
        check_entry(spec, name)
        if isinstance(dimension, Grid | Choice):
            _check_values(field, dimension)
        else:
            _check_range(field, dimension)
    _check_ensembles(spec)
    check_teachers(spec)
    check_conditions(spec)
    _check_combinations(spec)
    check_recipes(spec)
    check_idle(spec)
    check_shared_epochs(spec)
    _check_teacher_weights(spec)
    _check_views(spec)
    _check_seeds(spec)
    _check_sampler(spec)
    _check_warm_start(spec)
    _check_metrics(spec)
    _check_scheduler(spec)


def _check_values(field: SearchField, dimension: Grid | Choice) -> None:
    kind = "grid" if isinstance(dimension, Grid) else "choice"
    seen: set[tuple[type, Any]] = set()
    for index, value in enumerate(listed_values(dimension)):
        path = ("search", field.name, kind, index)
        try:
            canonical = field.canonical(value)
        except ValueError as error:
            raise RuleError(path, str(error)) from None
        if (type(canonical), canonical) in seen:
            raise RuleError(path, f"{shown(value)} is in the list twice")
        seen.add((type(canonical), canonical))


def _check_range(field: SearchField, dimension: Dimension) -> None:
    kind = "uniform" if isinstance(dimension, Uniform) else "int"
    if field.kind not in ("whole number", "number"):
        raise RuleError(
            ("search", field.name, kind), f"{field.name} is {field.kind}, not a number; possible: grid, choice"
        )
    low, high = range_bounds(dimension)
    if isinstance(dimension, Uniform) and field.kind == "whole number":
        example = f"int: [{math.ceil(low)}, {math.floor(high)}]"
        raise RuleError(("search", field.name, kind), f"{field.name} is a whole number; write {example}")
    for index, bound in enumerate((low, high)):
        try:
            field.canonical(bound)
        except ValueError as error:
            raise RuleError(("search", field.name, kind, index), str(error)) from None


def _check_combinations(spec: StudySpec) -> None:
    """Fields of one section bind each other, such as warmup_epochs and epochs: try them together."""
    sections: dict[str, list[SearchField]] = {}
    for name in spec.search:
        field = search_field(name)
        if field.section is not None and entry_section(field.section) is None:
            sections.setdefault(field.section, []).append(field)
    conditions = Conditions(spec)
    for section, fields in sections.items():
        possible = {name: conditions.corners(name) for name in conditions.closed([field.name for field in fields])}
        for values in itertools.islice(conditions.points(possible), MAX_COMBINATIONS):
            there = [field for field in fields if field.name in values]
            changes = tuple((field.key, values[field.name]) for field in there)
            try:
                changed_section(getattr(spec, section), changes)
            except ValueError as error:
                point = ", ".join(f"{key} {value}" for key, value in changes)
                raise RuleError(("search", there[0].name), f"no trial of {section} can have {point}: {error}") from None


def _check_ensembles(spec: StudySpec) -> None:
    if repeated := repeated_setting(spec.search):
        name, rule = repeated
        raise RuleError(("search", name), rule)


def _check_teacher_weights(spec: StudySpec) -> None:
    weights, largest = spec.distillation.teacher_weights, int(extremes(spec, "ensemble_size")[1])
    if weights is not None and len(weights) < largest:
        rule = f"has {len(weights)} weights, and an ensemble can have {largest} teachers; give one for each"
        raise RuleError(("distillation", "teacher_weights"), rule)


def _check_views(spec: StudySpec) -> None:
    view, pipeline = "distillation.teacher_view", "augmentation.pipeline"
    conditions = Conditions(spec)
    for point in conditions.points({name: conditions.corners(name) for name in conditions.closed([view, pipeline])}):
        name: Any = point.get(pipeline, spec.augmentation.pipeline)
        if point.get(view, spec.distillation.teacher_view) == "fixed" and Augmentation(pipeline=name).mixes:
            path = ("search", view) if view in spec.search else tuple(view.split("."))
            raise RuleError(path, f"fixed {NO_FIXED_LOGITS} {name!r}; possible: consistent, independent")


def _check_seeds(spec: StudySpec) -> None:
    seeds = seeds_of(spec)
    if seeds and "seed" in spec.search:
        raise RuleError(
            ("search", "seed"), "stands beside seeds, which each point is run with; leave one of the two out"
        )
    repeated = next((seed for index, seed in enumerate(seeds) if seed in seeds[:index]), None)
    if repeated is not None:
        raise RuleError(("seeds",), f"{repeated} is in the list twice")
    if isinstance(spec.seeds, AdaptiveSeeds):
        _check_added_seeds(spec)


def _check_added_seeds(spec: StudySpec) -> None:
    """Refuse what would choose trials by their outcomes: then there is no verdict that seeds could be added for."""
    if spec.sampler.name != GRID:
        rule = f"are added for verdicts, which sampler {spec.sampler.name!r} has none of"
        raise RuleError(("seeds",), f"{rule}; possible: sampler grid, or a fixed number, such as seeds: 3")
    if spec.scheduler.name != NO_RULE:
        rule = f"are added for verdicts, of which there are none where scheduler {spec.scheduler.name!r} stops trials"
        raise RuleError(("seeds",), f"{rule}; possible: scheduler none, or a fixed number, such as seeds: 3")


def _check_sampler(spec: StudySpec) -> None:
    if not spec.sampler.plans:
        if not spec.search:
            raise RuleError(("search",), f"is empty: sampler {spec.sampler.name!r} has nothing to choose")
        _check_repeats(spec, spec.sampler.name)
        _check_adaptive(spec)
    if spec.sampler.name != GRID:
        return
    for name, dimension in spec.search.items():
        if not isinstance(dimension, Grid):
            kind = {Choice: "choice", Uniform: "uniform", IntRange: "int"}[type(dimension)]
            rule = "sampler 'grid' needs a grid here; write grid: [...], or take another sampler, such as random or tpe"
            raise RuleError(("search", name, kind), rule)
    num_trials = _num_asked(spec) * num_repeats(spec)
    if num_trials > MAX_COUNT:
        rule = f"the grid has {num_trials} trials, more than {MAX_COUNT}; take sampler random with num_trials"
        raise RuleError(("search",), rule)


def _check_warm_start(spec: StudySpec) -> None:
    if spec.warm_start is None:
        return
    if (traits := spec.sampler.traits) is not None and not traits.learns:
        able = ", ".join(entry.name for entry in entries_of(SAMPLER) if entry.traits.learns)
        raise RuleError(("warm_start",), f"sampler {spec.sampler.name!r} learns from no trials; possible: {able}")
    if spec.warm_start.study == spec.name:
        raise RuleError(("warm_start", "study"), f"{spec.name!r} is the study itself; name another")


def _check_adaptive(spec: StudySpec) -> None:
    name, traits, asked = spec.sampler.name, spec.sampler.traits, len(spec.objectives)
    if traits is None:
        return
    if not _takes(traits, asked):
        able = [entry.name for entry in entries_of(SAMPLER) if not entry.traits.plans and _takes(entry.traits, asked)]
        most = "one objective" if traits.max_objectives == 1 else f"{traits.max_objectives} objectives"
        rule = f"{name!r} optimises {most}, and the study has {asked}"
        raise RuleError(("sampler", "name"), f"{rule}; possible: {', '.join(able)}")
    conditional = Conditions(spec).conditional
    ranges = [
        field
        for field, dimension in spec.search.items()
        if isinstance(dimension, Uniform | IntRange) and field not in conditional
    ]
    if len(ranges) < traits.min_ranges:
        rule = f"{name!r} needs {traits.min_ranges} dimensions that are uniform or int, without when"
        listed = f"the search has {len(ranges)}" + (f", {', '.join(ranges)}" if ranges else "")
        raise RuleError(("sampler", "name"), f"{rule}; {listed}")


def _takes(traits: SamplerTraits, num_objectives: int) -> bool:
    return traits.max_objectives is None or num_objectives <= traits.max_objectives


def _check_repeats(spec: StudySpec, sampler: str) -> None:
    """Refuse to search what makes repeats of a configuration: the luckiest one would be taken for the best."""
    for name in ("seed", *SEED_LEVELS, "data.split_seed"):
        dimension = spec.search.get(name)
        if dimension is None or (dimension_size(dimension) == 1 and not dimension.when):
            continue
        rule = (
            f"sampler {sampler!r} would judge a configuration by one {name} of its choice; leave one value here, and "
            + ("write seeds: 3 to run each with three" if name == "seed" else "run those that it finds by sampler grid")
        )
        raise RuleError(("search", name), rule)


def _check_metrics(spec: StudySpec) -> None:
    for index, objective in enumerate(spec.objectives):
        path: tuple[str | int, ...] = ("objectives", index, "metric")
        _check_metric(spec, objective.metric, path)
        if "mode" not in objective.model_fields_set and _better(objective.metric) is None:
            raise RuleError(("objectives", index, "mode"), f"is missing for {objective.metric!r}; possible: max, min")
        if objective.metric in [earlier.metric for earlier in spec.objectives[:index]]:
            raise RuleError(path, f"{objective.metric!r} is an objective twice")
    if (metric := getattr(spec.scheduler, "metric", None)) is not None:
        _check_metric(spec, metric, ("scheduler", "metric"))
        if getattr(spec.scheduler, "mode", None) is None and metric != spec.objectives[0].metric:
            # The first objective's mode may be the wrong one for another metric: the best trials would stop.
            rule = f"is missing for {metric!r}, which is not the first objective; possible: max, min"
            raise RuleError(("scheduler", "mode"), rule)


def _better(name: str) -> str | None:
    metric = metric_named(name)
    return None if metric is None else metric.better


def _check_metric(spec: StudySpec, name: str, path: tuple[str | int, ...]) -> None:
    extra = extra_columns(spec.metrics.extra)
    metric = REPORTED_METRICS.get(name)
    if metric is None:
        if name in extra:
            return
        raise RuleError(path, f"no trial reports {shown(name)}, {alternatives(name, [*REPORTED_METRICS, *extra])}")
    if metric.asked_by is not None and not getattr(spec.metrics, metric.asked_by):
        raise RuleError(path, f"{name!r} is not reported unless metrics.{metric.asked_by} is true")
    if Null.ONE_TEACHER in metric.null and extremes(spec, "ensemble_size")[0] < 2:
        size = "search.ensemble_size" if "ensemble_size" in spec.search else "ensemble_size, which is not searched,"
        for listed in ("teacher_strengths", MODELS):
            if listed in spec.search:
                size = f"the length of a list in search.{listed}"
        rule = f"{name!r} compares teachers, and {size} can be 1; search ensemble sizes from 2 on"
        raise RuleError(path, rule)


def _check_scheduler(spec: StudySpec) -> None:
    scheduler = spec.scheduler
    if isinstance(scheduler, StoppingParameters):
        asked = Asked(int(extremes(spec, "student.epochs")[1]), _num_asked(spec), len(spec.objectives))
        try:
            mistake = next(iter(scheduler.mistakes(asked)), None)
        except RAISED as error:
            raise RuleError(("scheduler", "name"), f"{spec.scheduler.name!r} raised {described(error)}") from error
        if mistake is not None:
            raise RuleError(("scheduler", mistake[0]), mistake[1])
    _check_mode(spec)


def _check_mode(spec: StudySpec) -> None:
    for judged in judged_by(spec):
        for index, objective in enumerate(spec.objectives):
            if judged.metric == objective.metric and judged.mode != objective.mode:
                rule = f"{judged.mode} is not {objective.mode}, the mode of {judged.metric!r} in objectives[{index}]: "
                raise RuleError(("scheduler", "mode"), rule + "the best trials would stop")


def _num_asked(spec: StudySpec) -> int:
    asked = spec.sampler.num_asked
    return space_size(spec) or 0 if asked is None else asked
