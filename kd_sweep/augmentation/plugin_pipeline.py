"""A pipeline of a plug-in, and what is checked of it at every batch.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

import pickle
import random

import numpy as np
import torch
from torch import Tensor

from kd_sweep.augmentation.mixing import Mixing
from kd_sweep.augmentation.pipeline_inputs import PipelineInputs
from kd_sweep.augmentation.pipeline_protocol import PipelineSetting
from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.catalogue.traits import PipelineTraits
from kd_sweep.errors import TrialError
from kd_sweep.study.recipe import Augmentation


class PluginPipeline:
    """A function of a plug-in as a pipeline.

    Raises:
        TrialError: the plug-in does not say how many random numbers it needs.
    """

    mixing: Mixing | None = None

    def __init__(self, augmentation: Augmentation, setting: PipelineSetting) -> None:
        self._augmentation = augmentation
        self._setting = setting
        self._entry = augmentation.entry
        self._traits: PipelineTraits = self._entry.traits
        self.num_draws = self._declared_draws()

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch.

        Raises:
            TrialError: the plug-in raised, returned no such images, or drew random numbers of its own.
        """
        normalization = self._setting.normalization
        if strength == 0 and self._traits.clean_at_zero:
            return normalization.of_pixels(pixels_BDHW)
        draws_BP = draws_BP.to(pixels_BDHW.device, non_blocking=True)
        images_BDHW = pixels_BDHW.float().div_(255)
        inputs = PipelineInputs(images_BDHW, draws_BP, strength, self._setting.horizontal_flip)
        before = _random_states(pixels_BDHW.device)
        try:
            with torch.no_grad():
                augmented = self._entry.item(inputs, self._augmentation)
        except RAISED as error:
            raise self._mistake(f"raised {described(error)}") from error
        if _random_states(pixels_BDHW.device) != before:
            raise self._mistake(
                "draws random numbers of its own; possible: those of draws_BP, num_draws for each image"
            )
        images_BDHW = self._checked(augmented, pixels_BDHW)
        # A new tensor: the plug-in may keep its own, or return one whose elements share memory.
        return images_BDHW.sub(normalization.mean_D11).div_(normalization.std_D11)

    def _declared_draws(self) -> int:
        count = self._traits.num_draws
        if callable(count):
            try:
                count = count(self._augmentation)
            except RAISED as error:
                raise self._mistake(f"raised {described(error)}") from error
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise self._mistake(f"has num_draws {count!r}, which is no count")
        return count

    def _checked(self, augmented: object, pixels_BDHW: Tensor) -> Tensor:
        expected = tuple(pixels_BDHW.shape)
        if not isinstance(augmented, Tensor):
            raise self._mistake(f"returned a {type(augmented).__name__}, not a tensor")
        if augmented.shape != pixels_BDHW.shape:
            raise self._mistake(f"returned the shape {tuple(augmented.shape)}, not {expected}")
        if augmented.dtype != torch.float32:
            raise self._mistake(f"returned {str(augmented.dtype).removeprefix('torch.')}, not float32")
        if augmented.device != pixels_BDHW.device:
            raise self._mistake(f"returned images on {augmented.device}, not on {pixels_BDHW.device}")
        if not bool(augmented.isfinite().all()):
            raise self._mistake("returned NaN or infinite values")
        return augmented

    def _mistake(self, rule: str) -> TrialError:
        return TrialError(f"augmentation.pipeline: {self._entry.name!r} {rule}")


def _random_states(device: torch.device) -> tuple[object, ...]:
    """Return the states of the generators that a process shares: their numbers are no function of seed and batch."""
    states = (torch.get_rng_state().numpy().tobytes(), random.getstate(), pickle.dumps(np.random.get_state()))
    if device.type != "cuda":
        return states
    return (*states, torch.cuda.default_generators[device.index or 0].get_offset())
