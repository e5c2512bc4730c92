"""A sampler: points near the best so far, nearer and nearer, after some at random."""

import optuna
from pydantic import Field

import kd_sweep


class AroundBest(kd_sweep.Parameters):
    """The parameters of the sampler; they are keys of `sampler` in a study file, beside `num_trials` and `seed`."""

    num_random: int = Field(4, ge=1)
    """Points at random before the first near the best."""
    reach: float = Field(0.5, gt=0, le=1)
    """How far from the best the first of them may be, as a share of each range; the next half as far, then a third."""


class Sampler(optuna.samplers.RandomSampler):
    """It suggests one point and is made anew for the next, so what it goes by is in Optuna's study."""

    def __init__(self, parameters, request):
        super().__init__(seed=request.seed)
        self.parameters = parameters

    def sample_independent(self, study, trial, param_name, param_distribution):
        """Return a value for one dimension. What is no range, and so has no distance, is drawn from all of it."""
        ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        further = len(ended) - self.parameters.num_random + 1
        is_range = isinstance(param_distribution, optuna.distributions.FloatDistribution)
        if is_range and further >= 1 and param_name in study.best_trial.params:
            low, high, best = param_distribution.low, param_distribution.high, study.best_trial.params[param_name]
            reach = (high - low) * self.parameters.reach / further
            param_distribution = optuna.distributions.FloatDistribution(max(low, best - reach), min(high, best + reach))
        return super().sample_independent(study, trial, param_name, param_distribution)


@kd_sweep.sampler("around_best", parameters=AroundBest, max_objectives=1)
def around_best(parameters, request):
    """Return the sampler for one suggestion. One of Optuna's own is `TPESampler(seed=request.seed)`, and no class."""
    return Sampler(parameters, request)
