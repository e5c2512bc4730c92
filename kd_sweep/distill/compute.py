"""The arithmetic of a process: device, threads, memory layout, deterministic kernels, random numbers."""

import contextlib
import os
from collections.abc import Iterator
from typing import assert_never

import torch
from torch import Tensor, nn

from kd_sweep.errors import ClusterError
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.recipe import Precision

CHANNEL_BLOCK = 16
"""The most channels that a kernel of oneDNN works on at once: float32 values in a register of AVX-512; AVX2 has 8."""


def resolve_device(device: str) -> torch.device:
    """Return the device that ``device`` names; ``auto`` is a CUDA GPU where there is one, else the CPU.

    Raises:
        ClusterError: there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise ClusterError(f"device: {device!r} is not a device; possible: auto, cpu, cuda, cuda:1") from None
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ClusterError(f"device: {device!r} needs a CUDA GPU, and this process sees none; possible: auto, cpu")
    return resolved


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Return ``model`` on ``device``, its kernels in the memory layout of `memory_layout`."""
    return model.to(device=device, memory_format=memory_layout(model, device))  # type: ignore[call-overload, no-any-return]


def memory_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the layout that convolutions are fastest in, channels last, where no layer of ``model`` is too narrow.

    With channels last a training step of a ResNet takes 15 to 25 % less time on a CPU. But there oneDNN, whose kernels
    work on blocks of channels, takes too little memory for the weights' gradient of a strided 1 x 1 convolution of
    fewer channels than a block has: it writes into what lies behind, and threads into each other's sums
    (github.com/uxlfoundation/oneDNN/issues/6035, not mended in torch 2.14). Contiguous tensors are padded to whole
    blocks.
    """
    narrow = any(isinstance(module, nn.Conv2d) and _is_narrow(module) for module in model.modules())
    return torch.contiguous_format if narrow and device.type == "cpu" else torch.channels_last


def _is_narrow(convolution: nn.Conv2d) -> bool:
    strided_1x1 = set(convolution.kernel_size) == {1} and max(convolution.stride) > 1
    return strided_1x1 and convolution.in_channels // convolution.groups < CHANNEL_BLOCK


def forward(model: nn.Module, images_BDHW: Tensor, precision: Precision) -> Tensor:
    """Return logits_BC, float32, of a forward pass in ``precision``: `float32`, or `bfloat16` where torch allows it.

    Its weights stay float32, and so do their gradients; bfloat16 has float32's range, so the loss needs no scaling.
    """
    match precision:
        case "float32":
            logits_BC: Tensor = model(images_BDHW)
        case "bfloat16":
            with torch.autocast(images_BDHW.device.type, torch.bfloat16):
                logits_BC = model(images_BDHW)
        case _:
            assert_never(precision)
    return logits_BC.float()


@contextlib.contextmanager
def reproducible(num_threads: int | None) -> Iterator[None]:
    """Run the body with deterministic kernels on ``num_threads`` threads (as many as now when None), then restore.

    Floating-point sums depend on how they are split, so results are equal bit for bit for equal ``num_threads``.
    """
    # cuBLAS reads this once, when it is first used; without it its sums may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads_before = torch.get_num_threads()
    deterministic_before = torch.get_deterministic_debug_mode()
    fill_before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark_before = torch.backends.cudnn.benchmark
    try:
        if num_threads is not None and num_threads != threads_before:
            torch.set_num_threads(num_threads)
        # As use_deterministic_algorithms(True, warn_only=True), which loads torch's compiler: a second of CPU.
        torch.set_deterministic_debug_mode("warn")
        # Filling new memory with NaN finds reads of uninitialised memory. There are none here, and it costs up to 10 %.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        if torch.get_num_threads() != threads_before:
            torch.set_num_threads(threads_before)
        torch.set_deterministic_debug_mode(deterministic_before)
        torch.utils.deterministic.fill_uninitialized_memory = fill_before  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark_before


class EpochRandomness:
    """Makes dropout and the like in an epoch a pure function of ``(init_seed, epoch)``.

    The block may be left and entered again: it goes on where it was, whatever has been drawn in between, and the
    process's own random states stay as they were.
    """

    def __init__(self, init_seed: int, epoch: int, device: torch.device) -> None:
        self._seed = derived_seed("epoch", init_seed, epoch)
        self._device = device
        self._inside: _RandomStates | None = None

    def __enter__(self) -> None:
        self._outside = self._states()
        if self._inside is None:
            # torch.manual_seed notes where it was called from, for GPUs that this process does not use.
            torch.default_generator.manual_seed(self._seed)
            if self._device.type == "cuda":
                torch.cuda.manual_seed_all(self._seed)
        else:
            self._set(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = self._states()
        self._set(self._outside)

    def _states(self) -> "_RandomStates":
        on_gpu = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
        return torch.get_rng_state(), on_gpu

    def _set(self, states: "_RandomStates") -> None:
        on_cpu, on_gpu = states
        torch.set_rng_state(on_cpu)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, self._device)


_RandomStates = tuple[Tensor, Tensor | None]
"""Of the CPU, and of the GPU."""
