"""Adaptive seeds as a driver sees them: whether a study can have them, how many to expect, which to run by now.

It loads the analysis of studies, half a second of CPU, so it is imported where a study has such seeds.
"""

from collections.abc import Iterable

from kd_sweep.analysis.added_seeds.decision import SeedDecision, decide
from kd_sweep.analysis.added_seeds.expected import EFFECTS, PlannedTests, expected_seeds, least_effect, tests_of
from kd_sweep.analysis.claims.paper_claims import claimed_outcomes
from kd_sweep.analysis.sample import only_study, trials_of
from kd_sweep.analysis.wording import counted, listed
from kd_sweep.driver.recorder import Recorder
from kd_sweep.errors import SpecError, alternatives
from kd_sweep.storage.root import Root
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.points import PlannedTrial, planned_trials, seed_of
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import ENDED


def check_adaptive_seeds(spec: StudySpec, seeds: AdaptiveSeeds) -> None:
    """Raise SpecError where there is no verdict that seeds could be added for."""
    for at, name in enumerate(seeds.outcomes):
        if name not in claimed_outcomes():
            possible = alternatives(name, claimed_outcomes())
            raise SpecError(f"seeds.outcomes[{at}]: {name!r} is no outcome of the paper's claims; {possible}")
    if not _tests(spec, seeds).num_watched:
        of = f" on {listed(list(seeds.outcomes))}" if seeds.outcomes else ""
        raise SpecError(
            f"seeds: are added for verdicts, and the study can have none{of}; search augmentation_strength or "
            "student_strength with two values and more (claims about teachers' attention need two teachers)"
        )


def expected_text(spec: StudySpec, seeds: AdaptiveSeeds) -> str:
    """Return how many seeds a study with adaptive seeds is to have, on a line."""
    tests, most, trials = _tests(spec, seeds), seeds.max, planned_trials(spec)
    words = ("nothing has an effect", *(f"all effects are {effect:g}" for effect in EFFECTS[1:]))
    means = [expected_seeds(tests, seeds, effect) for effect in EFFECTS]
    numbers = [f"{mean:.1f} if {word}" for mean, word in zip(means, words, strict=True)]
    counts = [f"{mean * len(trials) / most:.0f}" for mean in means]
    return (
        f"seeds: {seeds.min} to {most} until {seeds.until}, on average about {', '.join(numbers)} standard "
        f"deviations between seeds ({counted(tests.number, 'test')}): {', '.join(counts)} trials; "
        f"an effect of {least_effect(tests, seeds):.1f} is decided four times in five"
    )


def _tests(spec: StudySpec, seeds: AdaptiveSeeds) -> PlannedTests:
    first = [trial for trial in planned_trials(spec) if seed_of(trial) in seeds.all[: seeds.min]]
    return tests_of([trial.config for trial in first], list(spec.search), seeds)


class AddedSeeds:
    """Which seeds a study with adaptive seeds is to be run with, by its tables.

    Args:
        seeds: as the study was launched with.
        recorder: of the study's tables.
        study: its folder.
    """

    def __init__(self, seeds: AdaptiveSeeds, recorder: Recorder, study: Root) -> None:
        self._seeds, self._recorder, self._study = seeds, recorder, study
        self.decision = SeedDecision(seeds, 0)
        """The last one."""
        self._trial_ids: dict[int, list[str]] = {}
        """Of each seed."""

    def decide(self) -> SeedDecision:
        """Return what the study has come to. The tables are written first: they are what is judged."""
        if not self._recorder.trials():
            return SeedDecision(self._seeds, 0)
        self._recorder.write_now()
        results = Results(self._study)
        name = only_study(results, None)
        return decide(trials_of(results, name), name, self._seeds)

    def say_complete(self) -> None:
        """Write how many seeds are complete where that has changed and there is no look yet."""
        for number, seed in enumerate(self._seeds.all[: self._seeds.min]):
            if any(self._recorder.status(trial_id) not in ENDED for trial_id in self._trial_ids[seed]):
                if number > self.decision.num_complete:
                    self.decision = SeedDecision(self._seeds, number)
                    self._recorder.seeds_judged(str(self.decision))
                return

    def wanted(self, trials: Iterable[PlannedTrial]) -> dict[str, PlannedTrial]:
        """Return those of all trials that the study is to have by now: of the seeds wanted, and of any that has begun.

        Args:
            trials: all that there can be.
        """
        decision = self.decision = self.decide()
        self._recorder.seeds_judged(str(decision))
        known = self._recorder.trials()
        seeds = set(self._seeds.all[: decision.num_wanted])
        listed = list(trials)
        self._trial_ids = {}
        for trial in listed:
            self._trial_ids.setdefault(seed_of(trial), []).append(trial.trial_id)
        seeds |= {seed_of(trial) for trial in listed if trial.trial_id in known}
        return {trial.trial_id: trial for trial in listed if seed_of(trial) in seeds}
