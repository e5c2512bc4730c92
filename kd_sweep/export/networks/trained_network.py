"""A trained network as other tools are given it: with what it takes, real images, and the logits that it has to give.

Shapes: B images, D channels, H x W pixels, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kd_sweep.data.dataset import Dataset
from kd_sweep.data.normalization import Normalization
from kd_sweep.data.splits import evenly_over_classes
from kd_sweep.errors import KdSweepError, QueryError
from kd_sweep.export.request import STUDENT, Request
from kd_sweep.study.recipe import Learner
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.trial_lookup import StoredTrial
from kd_sweep.trained.trained_networks import TrainedNetworks

NUM_IMAGES = 64
"""Validation images on which an export has to give the logits of the network."""
TOLERANCE = 1e-4
"""The largest difference of a logit, relative to the largest logit where that is above 1."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a trial, in evaluation mode on the CPU."""

    trial: StoredTrial
    config: TrialConfig
    name: str
    """`student`, or `teacher-1` and so on."""
    learner: Learner
    """What it was built of."""
    epoch: int | None
    """Of the student; None of a teacher."""
    module: nn.Module
    dataset: Dataset
    images_BDHW: torch.Tensor
    """Validation images as the network takes them."""
    logits_BC: Floats

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What makes of an image what the network takes, as values that JSON can hold."""
        data = self.dataset
        return {
            "input": "float32, (batch, channels, image_size, image_size)",
            "channels": data.channels,
            "image_size": data.image_size,
            "crop": "central square",
            "resize": "bilinear, antialiased where it becomes smaller",
            "scale": "levels from 0 to 255 become 0 to 1",
            "mean": list(data.mean),
            "std": list(data.std),
            "class_names": list(data.class_names),
        }

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, as values that JSON can hold."""
        row = self.trial.row
        known = {"study": row["study"], "trial": self.trial.trial_id, "network": self.name, "epoch": self.epoch}
        return known | {"model": self.learner.model, "dataset": self.config.data.name}

    def check(self, logits_BC: Floats, what: str) -> None:
        """Raise `KdSweepError` where logits on `images_BDHW` are not those of the network.

        Args:
            logits_BC: of the export.
            what: gave them.
        """
        scale = max(float(np.abs(self.logits_BC).max()), 1.0)
        difference = float(np.abs(logits_BC - self.logits_BC).max()) if logits_BC.size else float("nan")
        if logits_BC.shape != self.logits_BC.shape or not difference <= TOLERANCE * scale:
            raise KdSweepError(
                f"export: {what} gives other logits than the network of trial {self.trial.trial_id}: they differ by "
                f"{difference:g} on {len(self.logits_BC)} validation images, allowed is {TOLERANCE * scale:g}; "
                "nothing was written"
            )


def trained_network(request: Request) -> TrainedNetwork:
    """Return the network that an export is asked for.

    Raises:
        QueryError: no such trial or network.
        StorageError: there is no checkpoint of it.
        DataError: the images are not where they were.
        Exception: as `TrainedNetworks`.
    """
    trial = request.stored_trial()
    networks = TrainedNetworks(trial, "cpu")
    config = networks.config
    names = [STUDENT, *(f"teacher-{member}" for member in range(1, config.ensemble_size + 1))]
    if request.network not in names:
        raise QueryError(f"--network: {request.network!r} is none of trial {trial.trial_id}; {', '.join(names)}")
    epoch: int | None = None
    if request.network == STUDENT:
        module, epoch = networks.student()
        learner = config.student
    else:
        index = names.index(request.network) - 1
        module, learner = networks.teachers()[index], config.teachers[index].learner
    dataset = networks.dataset
    chosen_B = torch.from_numpy(evenly_over_classes(dataset.val.labels_N.numpy(), NUM_IMAGES))
    images_BDHW = Normalization.of(dataset, torch.device("cpu")).of_pixels(dataset.val.pixels(chosen_B))
    with torch.no_grad():
        logits_BC: Floats = module(images_BDHW).numpy()
    return TrainedNetwork(trial, config, request.network, learner, epoch, module, dataset, images_BDHW, logits_BC)
