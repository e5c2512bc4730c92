"""Distributed hyperparameter sweeps for ensemble knowledge distillation.

What is public is listed here, and nowhere else: `docs/python.md` describes it. Importing the package loads none of it.
"""

from typing import TYPE_CHECKING, Any

from kd_sweep.version import __version__

if TYPE_CHECKING:
    from kd_sweep import errors as errors
    from kd_sweep.api.single_trial import run_trial as run_trial
    from kd_sweep.api.study import Study as Study
    from kd_sweep.driver import events as events
    from kd_sweep.driver.converge import Outcome as Outcome
    from kd_sweep.driver.estimate import Estimate as Estimate
    from kd_sweep.driver.estimate import StudyPlan as StudyPlan
    from kd_sweep.driver.launch import resume as resume
    from kd_sweep.tables.reader import Results as Results
    from kd_sweep.tables.reader import open_results as open_results

_HOMES = {
    "Estimate": "kd_sweep.driver.estimate:Estimate",
    "Outcome": "kd_sweep.driver.converge:Outcome",
    "Results": "kd_sweep.tables.reader:Results",
    "Study": "kd_sweep.api.study:Study",
    "StudyPlan": "kd_sweep.driver.estimate:StudyPlan",
    "errors": "kd_sweep.errors:",
    "events": "kd_sweep.driver.events:",
    "open_results": "kd_sweep.tables.reader:open_results",
    "resume": "kd_sweep.driver.launch:resume",
    "run_trial": "kd_sweep.api.single_trial:run_trial",
}
"""The module of each public name, and its name there; a module is public as a whole."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kd_sweep' has no attribute {name!r}; public: {', '.join(sorted(_HOMES))}")
    from importlib import import_module

    module, _, inner = _HOMES[name].partition(":")
    value = getattr(import_module(module), inner) if inner else import_module(module)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
