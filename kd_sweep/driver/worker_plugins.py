"""The plug-ins of a study in its workers.

A trial arrives as it was stored. Once its plug-ins are loaded, it is read again and has their entries.
"""

import socket
from typing import TypeVar

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.catalogue.selecting_section import SelectingSection
from kd_sweep.driver.worker_messages import WorkerSettings
from kd_sweep.errors import KdSweepError, TrialError
from kd_sweep.storage.plugin_files import load_stored_plugins
from kd_sweep.storage.root import Root

C = TypeVar("C", bound=Strict)


def with_plugins(config: C, settings: WorkerSettings) -> C:
    """Return the configuration of a trial or teacher with the entries that it selects, whose plug-ins are loaded first.

    Raises:
        TrialError: one cannot be loaded on this node, or is another version here. One line, with the node.
    """
    try:
        if settings.plugins_digest is not None:
            study = Root.open(settings.root).child(settings.study)
            load_stored_plugins(study, settings.plugins, settings.plugins_digest)
        config = type(config).model_validate_json(config.model_dump_json())
        for _, section in config:
            if isinstance(section, SelectingSection) and section.source is not None:
                _ = section.entry  # it raises where that is not what the trial was made with
    except (KdSweepError, FileNotFoundError) as error:
        raise TrialError(f"node {socket.gethostname()}: {error}") from None
    return config
