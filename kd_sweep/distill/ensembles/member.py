"""A teacher in a trial: its network, which may drift, and its logits.

Shapes: B batch, C classes, D channels, H x W image.
"""

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from kd_sweep.data.dataset import Dataset
from kd_sweep.distill.compute import forward, to_device
from kd_sweep.distill.teachers import TrainedTeacher
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.recipe import Learner, Precision
from kd_sweep.study.trial import TeacherConfig

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def untrained_models(
    learner: Learner, init_seed: int, dataset: Dataset, device: torch.device
) -> tuple[nn.Module, nn.Module]:
    """Return networks of a kind: of the weights that were drawn at first, and of others.

    Pretrained weights are in neither, so that their files are not needed again.
    """
    seeds = init_seed, derived_seed("redrawn", init_seed)
    initial, redrawn = (build_model(learner, dataset, seed) for seed in seeds)
    return to_device(initial, device), to_device(redrawn, device)


class Member:
    """A teacher in this trial.

    Args:
        teacher: which one.
        trained: returns it trained, by its id.
        drifting: whether its batch norm is in training mode on the images that the student learns from.
    """

    def __init__(self, teacher: TeacherConfig, trained: Callable[[str], TrainedTeacher], drifting: bool) -> None:
        self._teacher = teacher
        self._trained = trained
        self.drifting = drifting
        self.teacher_id = teacher.teacher_id

    @cached_property
    def model(self) -> nn.Module:
        """As it is in this trial: a copy of its own where it drifts."""
        return copy.deepcopy(self.trained_model) if self.drifting else self.trained_model

    @property
    def trained_model(self) -> nn.Module:
        """As it was at the end of its training."""
        return self._trained(self.teacher_id).network

    def untrained_models(self, dataset: Dataset, device: torch.device) -> tuple[nn.Module, nn.Module]:
        """Return networks of its kind, as the function of this name."""
        return untrained_models(self._teacher.learner, self._teacher.init_seed, dataset, device)

    @property
    def train_loss(self) -> float:
        """Of its last epoch, on its own training stream."""
        return self._trained(self.teacher_id).record.history[-1]["train_loss"]

    def train_logits(self, images_BDHW: Tensor) -> Tensor:
        """Return logits on training images, in the teacher's precision.

        Where it drifts, batch norm takes the images into its statistics.
        """
        norms = self._norms if self.drifting else ()
        for norm in norms:
            norm.train()
        try:
            return self._forward(images_BDHW, self._teacher.learner.precision)
        finally:
            for norm in norms:
                norm.eval()

    def fixed_logits(self, images_BDHW: Tensor) -> Tensor:
        """Return logits on clean training images, in the teacher's precision; it does not drift on them."""
        return self._forward(images_BDHW, self._teacher.learner.precision)

    def logits(self, images_BDHW: Tensor) -> Tensor:
        """Return logits on images that no network learns from."""
        return self._forward(images_BDHW, "float32")

    def _forward(self, images_BDHW: Tensor, precision: Precision) -> Tensor:
        # Not inference_mode: the loss keeps these tensors for its backward pass.
        with torch.no_grad():
            return forward(self.model, images_BDHW, precision)

    @cached_property
    def _norms(self) -> list[nn.Module]:
        return [module for module in self.model.modules() if isinstance(module, BATCH_NORMS)]
