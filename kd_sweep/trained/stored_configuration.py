"""The configuration of a trial that is in the tables, with the plug-ins that its study names."""

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import PluginError
from kd_sweep.study.trial import TrialConfig, recorded_trial
from kd_sweep.tables.trial_lookup import StoredTrial


def stored_configuration(trial: StoredTrial) -> TrialConfig:
    """Return the configuration of a trial; where it selects an entry of a plug-in, the study's plug-ins are imported.

    Raises:
        PluginError: no plug-in has an entry that the trial selects.
        StorageError: a plug-in that the study names cannot be imported; or a version of kd_sweep wrote the trial whose
            trials have other fields.
    """
    try:
        return recorded_trial(trial.row)
    except PluginError:
        StudyFolder.at(trial.study).spec()
        return recorded_trial(trial.row)
