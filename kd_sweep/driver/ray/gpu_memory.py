"""The check of a trial's share of a GPU's memory: Ray counts slots and isolates no memory.

Before a sweep whose trials share GPUs, one trial runs alone on a GPU for a few batches, and a share that is smaller
than what it took is refused.
"""

import math
from typing import Any

from kd_sweep.driver.ray.worker_plugins import TravellingPlugins
from kd_sweep.errors import ClusterError
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.trial import TrialConfig

CONTEXT_BYTES = 600 * 2**20
"""What CUDA and its libraries keep for a process beside torch's own pool; 300 to 600 MiB, by driver and GPU."""

PROBED_BATCHES = 3
LEAST_IMAGES = 2048
"""A part of a dataset has at least one image per class, and ImageNet has 1000 classes."""
PROBE_S = 600.0


def check_share(gpus: float, peak_bytes: int, total_bytes: int) -> None:
    """Raise `ClusterError` if trials that each take `peak_bytes` do not fit on a GPU at `gpus` of it each.

    Args:
        gpus: the share of one GPU that a trial asks for; 1 and more is not shared, and fits.
        peak_bytes: what torch reserved at most in one trial.
        total_bytes: the GPU's memory.
    """
    needed = peak_bytes + CONTEXT_BYTES
    num_requested = math.floor(1 / gpus + 1e-9)
    if gpus >= 1 or num_requested * needed <= total_bytes:
        return
    num_fitting = total_bytes // needed
    advice = f"at least {_share(num_fitting)} is needed" if num_fitting else "not even one trial fits"
    raise ClusterError(
        f"resources.gpus: {gpus:g} puts {num_requested} trials on a GPU of {_gib(total_bytes)}, and one trial took "
        f"{_gib(needed)}; {advice}"
    )


def check_memory(gpus: float, trial: TrialConfig, plugins: TravellingPlugins | None = None) -> None:
    """Measure `trial` on one GPU of the connected Ray and check its share of it; needs a GPU.

    A trial that fails for another reason than memory is let through: its own row will say why.

    Args:
        gpus: as for `check_share`.
        trial: the one that takes most memory.
        plugins: those that it needs, if any.

    Raises:
        ClusterError: the share is too small, a whole GPU is too small, or none was free for minutes.
    """
    import ray

    task = ray.remote(measure).options(num_cpus=1, num_gpus=1, max_retries=1)
    try:
        peak_bytes, total_bytes = ray.get(task.remote(trial.model_dump_json(), plugins), timeout=PROBE_S)
    except ray.exceptions.GetTimeoutError:
        raise ClusterError(f"resources.gpus: no GPU was free for a first measurement within {PROBE_S:g} s") from None
    except ray.exceptions.RayError as error:
        if "OutOfMemoryError" in str(error):
            raise ClusterError("resources.gpus: one trial alone on a GPU ran out of its memory") from None
        return
    check_share(gpus, peak_bytes, total_bytes)


def measure(trial_json: str, plugins: TravellingPlugins | None) -> tuple[int, int]:
    """Run a few batches of a trial on this process's GPU; return the bytes that torch reserved at most, and the GPU's.

    Teachers are trained in the same process, as a trial trains those that are missing. Runs in a worker.
    """
    import torch

    from kd_sweep.distill.trial import trial_epochs

    if plugins is not None:
        plugins.load()
    trial = shortened(TrialConfig.model_validate_json(trial_json))
    torch.cuda.reset_peak_memory_stats()
    with scratch_folder("memory") as folder:
        for _ in trial_epochs(trial, root=folder, checkpoint_dir=None, device="cuda"):
            pass
    return torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory


def shortened(trial: TrialConfig) -> TrialConfig:
    """Return the trial with one epoch of a few batches, as large as the trial's own."""
    batch_size = max(learner.batch_size for learner in (*trial.learners, trial.student))
    few = max(LEAST_IMAGES, PROBED_BATCHES * batch_size)
    once: dict[str, Any] = {"epochs": 1, "schedule": "constant", "warmup_epochs": 0.0}
    limits = {
        name: few if limit is None else min(few, limit)
        for name in ("max_train_images", "max_val_images")
        for limit in (getattr(trial.data, name),)
    }
    return trial.with_learners(once).model_copy(update={"data": trial.data.model_copy(update=limits)})


def _share(num: int) -> str:
    return f"{math.ceil(1000 / num) / 1000:g}"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
