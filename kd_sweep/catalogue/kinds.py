"""The kinds of entries: what can be selected by name, and the folder of those that are built in."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of entries."""

    name: str
    """In messages: `loss`."""
    folder: str
    """The package whose modules are the built-in entries. A module's name is its entry's, unless it begins with `_`."""
    otherwise: str = ""
    """The built-in entry that answers for all names without a colon that no other entry has."""
    libraries: tuple[str, ...] = ()
    """What that entry has names of too, as `library:name`."""


LOSS = Kind("loss", "kd_sweep.distill.losses")
ATTENTION_MAP = Kind("attention map", "kd_sweep.attention.map_kinds")
NETWORK = Kind("network", "kd_sweep.networks.entries", otherwise="library", libraries=("torchvision", "timm"))
DATASET = Kind("dataset", "kd_sweep.data.datasets")
PIPELINE = Kind("pipeline", "kd_sweep.augmentation.pipelines")
METRIC = Kind("metric", "kd_sweep.metrics.extra")
SAMPLER = Kind("sampler", "kd_sweep.driver.tune.samplers")
STOPPING_RULE = Kind("stopping rule", "kd_sweep.driver.stopping.rules")
