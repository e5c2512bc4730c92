"""The checks of a study that need its images and networks, before anything is written."""

import importlib.util
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.catalogue.selecting_section import parameters_of_all
from kd_sweep.data.contents import inspect_data, num_channels
from kd_sweep.driver.stopping.study_rule import rule_of
from kd_sweep.errors import SpecError
from kd_sweep.networks.network_checks import check_model, with_weights_digest
from kd_sweep.study.extra_metrics import extra_columns
from kd_sweep.study.recipe import Learner
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.conditions import Conditions
from kd_sweep.study.space.members import MODELS, entry_of_member, entry_section, is_mixed
from kd_sweep.study.space.points import trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.teacher_entries import TeacherEntry
from kd_sweep.tables.schema import EPOCHS, TRIALS, is_of_searched_field


def checked(
    spec: StudySpec, cache_dir: Path | None = None, *, say: Callable[[str], None], download: bool = True
) -> StudySpec:
    """Return the spec with its dataset resolved and fingerprinted, after checking every model that it names.

    Args:
        spec: the study.
        cache_dir: where earlier processes stored fingerprints.
        say: called with each line on what the dataset holds.
        download: whether published weights are downloaded to be checked.

    Raises:
        UserError: the dataset, a model, the sampler or the stopping rule of a plug-in is not what it must be.
    """
    check_sampler(spec)
    rule_of(spec)
    check_metrics(spec)
    if isinstance(spec.seeds, AdaptiveSeeds):
        from kd_sweep.driver.stopping.added_seeds import check_adaptive_seeds

        check_adaptive_seeds(spec, spec.seeds)
    contents = inspect_data(spec.data, cache_dir)
    for line in contents.lines():
        say(line)
    check_models(spec, download=download)
    weights = {role: with_weights_digest(getattr(spec, role), f"{role}.weights") for role in ("teacher", "student")}
    entries = tuple(_with_digest(entry, f"teachers[{index}].weights") for index, entry in enumerate(spec.teachers))
    plugins = PluginBundle.of_modules(spec.plugins).digest if spec.plugins else None
    return spec.model_copy(update={"data": contents.data, "plugins_digest": plugins, "teachers": entries, **weights})


def check_sampler(spec: StudySpec) -> None:
    """Ask the sampler of a plug-in for a first point; check that what a built-in one needs is installed.

    Raises:
        SamplerError: it suggests none.
        SpecError: a package is not installed.
    """
    if not spec.sampler.is_built_in:
        from kd_sweep.driver.tune.optuna_source import OptunaSource  # takes a second to load

        next(OptunaSource(spec.model_copy(update={"warm_start": None}), (), 1).candidates())
    package = spec.sampler.entry.traits.package
    if package is not None and importlib.util.find_spec(package) is None:
        raise SpecError(
            f"sampler.name: {spec.sampler.name!r} needs {package}, which is not installed; "
            "pip install -e '.[samplers]' in the checkout"
        )


def check_metrics(spec: StudySpec) -> None:
    """Raise SpecError where the column of an extra metric means something else already."""
    taken = {*EPOCHS.names, *TRIALS.names}
    for index, column in enumerate(extra_columns(spec.metrics.extra)):
        if column in taken or is_of_searched_field(column):
            raise SpecError(
                f"metrics.extra[{index}].name: its column {column!r} is, or reads like, one that tables have already; "
                "possible: another name of the metric or of its package"
            )


def check_models(spec: StudySpec, *, download: bool = True) -> None:
    """Raise SpecError where a network that the study names cannot be built; the dataset need not be there."""
    channels = num_channels(spec.data)
    teachers = _members(spec) if is_mixed(spec) else _variants(spec, "teacher", spec.teacher)
    for field, variant in (*teachers, *_variants(spec, "student", spec.student)):
        check_model(variant, field, spec.data.image_size, channels, download=download)


def _with_digest(entry: TeacherEntry, field: str) -> TeacherEntry:
    """Return an entry with the digest of its weights, if it names a file of its own."""
    if "weights" not in entry.given:
        return entry
    return TeacherEntry(with_weights_digest(entry.learner, field), entry.given | {"weights_digest"})


def _members(spec: StudySpec) -> Iterator[tuple[str, Learner]]:
    """Yield the networks that trials can have as teachers where these differ, each once, and the field of each."""
    conditions = Conditions(spec)
    keys = (Learner.selector, *parameters_of_all(Learner))
    fields = [name for name in spec.search if name == MODELS or _is_of_network(name, keys)]
    possible = {name: conditions.corners(name) for name in conditions.closed(fields)}
    seen: set[Learner] = set()
    for point in conditions.points(possible):
        trial = trial_config(spec, {name: value for name, value in point.items() if name in fields})
        models = point.get(MODELS)
        for member, learner in enumerate(trial.learners):
            if learner not in seen:
                seen.add(learner)
                entry = entry_of_member(spec, member, models)
                yield ("teacher.model" if entry is None else f"teachers[{entry}].model"), learner


def _is_of_network(name: str, keys: Collection[str]) -> bool:
    section, _, key = name.rpartition(".")
    return (section == "teacher" or entry_section(section) is not None) and key in keys


def _variants(spec: StudySpec, role: str, learner: Learner) -> Iterator[tuple[str, Learner]]:
    """Yield the networks that trials can have as their teacher or student, each once, and the field."""
    conditions = Conditions(spec)
    keys = (learner.selector, *parameters_of_all(Learner))
    fields = {f"{role}.{key}": key for key in keys}
    possible = {name: conditions.corners(name) for name in conditions.closed(fields)}
    points = (
        {key: point[name] for name, key in fields.items() if name in point} for point in conditions.points(possible)
    )
    for changes in {tuple(point.items()): point for point in points}.values():
        yield f"{role}.model", learner.changed(changes)
