"""The configuration of a trial that is in the tables, with the plug-ins of its study."""

import contextlib
from typing import Any

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import PluginError, StorageError
from kd_sweep.study.recipe import Data
from kd_sweep.study.recorded_trials import recorded_trial
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.trial_lookup import StoredTrial


def stored_configuration(trial: StoredTrial) -> TrialConfig:
    """Return the configuration of a trial, with the location of its images as it is now.

    That is the trial's own `data_location`, else the one that the study was last launched with. Where the trial selects
    entries of plug-ins, the study's plug-ins are imported. Where they cannot be, or are another version than the trial
    was run with, whatever needs such an entry says so: a student can be built without the loss that it learned by.

    Raises:
        StorageError: a version of kd_sweep wrote the trial whose trials have other fields.
    """
    config = recorded_trial(trial.row)
    if config.plugin_sources or ":" in config.data.name:
        folder = StudyFolder.at(trial.study)
        spec = folder.spec()
        with contextlib.suppress(PluginError, StorageError):
            folder.load_plugins(spec)
        config = recorded_trial(trial.row)
    if "path" not in config.data.origin:
        return config
    data = config.data.model_copy(update=_launched_location(trial, config.data) | dict(trial.data_location))
    return config.model_copy(update={"data": data})


def _launched_location(trial: StoredTrial, data: Data) -> dict[str, Any]:
    """Return where the study had these images when it was last launched; nothing where its spec cannot be read."""
    try:
        launched = StudyFolder.at(trial.study).spec().data
    except StorageError:
        return {}
    if launched.fingerprint != data.fingerprint:
        return {}
    return launched.origin
