"""The plug-ins of a study in its workers.

A trial arrives as it was stored. Once its plug-ins are loaded, it is read again and has their entries.
"""

import socket
from dataclasses import dataclass
from typing import TypeVar

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.catalogue.parameters import Strict
from kd_sweep.driver.worker_messages import WorkerSettings
from kd_sweep.errors import KdSweepError, TrialError
from kd_sweep.storage.plugin_files import load_bundle, load_stored_plugins
from kd_sweep.storage.root import Root
from kd_sweep.study.trial import selecting_sections

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
        return with_entries(config)
    except (KdSweepError, FileNotFoundError) as error:
        raise TrialError(f"node {socket.gethostname()}: {error}") from None


def with_entries(config: C) -> C:
    """Return the configuration of a trial or teacher, read again now that its plug-ins are loaded.

    Raises:
        PluginError: an entry that it selects is not loaded, or is another version.
    """
    config = type(config).model_validate_json(config.model_dump_json())
    for _, section in selecting_sections(config):
        if section.source is not None:
            _ = section.entry  # it raises where that is not what the trial was made with
    return config


@dataclass(frozen=True)
class TravellingPlugins:
    """The plug-ins of a study that is not written yet, for a worker that tries a trial before."""

    modules: tuple[str, ...]
    digest: str
    content: bytes
    """Of their bundle, as a ZIP file."""

    @classmethod
    def of_modules(cls, modules: tuple[str, ...]) -> "TravellingPlugins":
        """Return the plug-ins that are loaded here under these names."""
        bundle = PluginBundle.of_modules(modules)
        return cls(modules, bundle.digest, bundle.zipped())

    def load(self) -> None:
        """Import them.

        Raises:
            PluginError: one of them cannot be imported here.
        """
        load_bundle(PluginBundle.of_zip(self.content, self.digest, "plug-ins"), self.modules)
