"""Teacher outputs on disk and in memory: a teacher computes the same pixels once for all trials that need it.

``<root>/logits/<teacher>/<stream>/epoch-00001.safetensors`` holds one epoch's logits, in the order of the stream;
``<root>/logits/<teacher>/clean-train.safetensors`` those on the clean training images, where views are fixed;
``<root>/logits/<teacher>/clean-grad_cam.safetensors`` what the teacher makes of the clean validation images, and
``randomised-grad_cam.safetensors`` how much of its attention networks show that have learned nothing. All of it is
safe to delete at any time: what is missing, damaged or of another shape is computed again. What one process computes,
others of this machine wait for.

Shapes: N training images of an epoch, V validation images, C classes, h x w attention map.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from kd_sweep.attention.randomised import KeptCorrelations
from kd_sweep.distill.logit_files import LOGITS, SUFFIX, epoch_file
from kd_sweep.distill.worker_memory import RecentlyUsed
from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.local_files import folder_lock
from kd_sweep.storage.root import Location, Root
from kd_sweep.storage.stored_file import StoredFile
from kd_sweep.storage.tensor_files import read_tensors, write_tensors

MAX_FILE_BYTES = 256 * 2**20
"""A larger entry is not kept: for the largest datasets a forward pass costs less than the disk."""
MAX_MEMORY_BYTES = 256 * 2**20
MAX_WAIT_S = 600.0
"""So long a process waits for what another computes: that may be suspended. Then it computes the same itself."""
_POLL_S = 0.05

Key = TypeVar("Key", bound=Hashable)
Outputs = TypeVar("Outputs")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochLogits:
    """One teacher's logits on one epoch of a stream, float32, on the CPU.

    Where teachers have views of their own, the stream is theirs: training images as they see them, and validation
    images as the student does.
    """

    train_NC: Tensor
    val_augmented_VC: Tensor


@dataclass(frozen=True)
class CleanOutputs:
    """What one teacher makes of the clean validation images, on the CPU."""

    logits_VC: Tensor
    maps_Vhw: Tensor
    """Attention maps as large as the network makes them: regions at any threshold, in a fraction of their bytes."""


class LogitCache:
    """The outputs of all teachers under one results root.

    Args:
        root: the results root.
        enabled: False computes everything anew and writes nothing; results are equal bit for bit.
    """

    _memory: RecentlyUsed[str, dict[str, Tensor]] = RecentlyUsed(
        MAX_MEMORY_BYTES, lambda tensors: sum(tensor.nbytes for tensor in tensors.values())
    )

    def __init__(self, root: Location, *, enabled: bool = True) -> None:
        self._folder = Root.open(root).child(LOGITS)
        self._enabled = enabled

    def once(
        self,
        folders: Mapping[Key, str],
        read: Callable[[Key], Outputs | None],
        compute: Callable[[list[Key]], Mapping[Key, Outputs]],
    ) -> dict[Key, Outputs]:
        """Return the outputs of each key: those that are kept, and those that nobody else is computing, computed here.

        What another process of this machine is computing is waited for. No process waits while it holds anything up,
        so none waits for ever.

        Args:
            folders: of each key, where its outputs lie: a teacher, or one of its streams as ``teacher/stream``.
            read: returns what is kept for a key.
            compute: returns outputs, and has kept them.
        """
        found: dict[Key, Outputs] = {}
        deadline = time.monotonic() + MAX_WAIT_S
        while True:
            self._look(folders, read, found)
            missing = [key for key in folders if key not in found]
            if not missing:
                return found
            with ExitStack() as stack:
                is_late = time.monotonic() > deadline
                ours = [key for key in missing if is_late or stack.enter_context(self._claimed(folders[key]))]
                self._look(ours, read, found)  # somebody may have kept some between the look and the claim
                ours = [key for key in ours if key not in found]
                if ours:
                    found |= compute(ours)
            if len(found) < len(folders):
                time.sleep(_POLL_S)

    @staticmethod
    def _look(keys: Iterable[Key], read: Callable[[Key], Outputs | None], found: dict[Key, Outputs]) -> None:
        for key in keys:
            outputs = None if key in found else read(key)
            if outputs is not None:
                found[key] = outputs

    @contextmanager
    def _claimed(self, folder: str) -> Iterator[bool]:
        """Claim what lies in a folder for the block; yield False where another process has. Object stores have none."""
        if not (self._enabled and self._folder.is_local):
            yield True
            return
        with folder_lock(self._folder.local_path(*folder.split("/"))) as is_ours:
            yield is_ours

    def epoch(self, teacher_id: str, stream_id: str, epoch: int, shape: tuple[int, int, int]) -> EpochLogits | None:
        """Return a teacher's logits on an epoch if they are kept and of ``shape``, (N, V, C)."""
        num_train, num_val, num_classes = shape
        expected = {"train_NC": (num_train, num_classes), "val_augmented_VC": (num_val, num_classes)}
        tensors = self._read(self._epoch_path(teacher_id, stream_id, epoch))
        if tensors is None or {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
            return None
        return EpochLogits(**tensors)

    def keep_epoch(self, teacher_id: str, stream_id: str, epoch: int, logits: EpochLogits) -> None:
        """Keep a teacher's logits on an epoch."""
        tensors = {"train_NC": logits.train_NC, "val_augmented_VC": logits.val_augmented_VC}
        self._write(self._epoch_path(teacher_id, stream_id, epoch), tensors)

    def clean_train(self, teacher_id: str, shape: tuple[int, int]) -> Tensor | None:
        """Return a teacher's logits on the clean training images if they are kept and of ``shape``, (N, C)."""
        tensors = self._read(self._clean_train_path(teacher_id))
        logits_NC = None if tensors is None else tensors.get("train_NC")
        return logits_NC if logits_NC is not None and logits_NC.shape == shape else None

    def keep_clean_train(self, teacher_id: str, logits_NC: Tensor) -> None:
        """Keep a teacher's logits on the clean training images."""
        self._write(self._clean_train_path(teacher_id), {"train_NC": logits_NC})

    def clean(self, teacher_id: str, attention: str, shape: tuple[int, int]) -> CleanOutputs | None:
        """Return a teacher's outputs on clean validation images if they are kept and of ``shape``, (V, C).

        Args:
            teacher_id: which teacher.
            attention: which kind of attention map, as `attention.maps.maps_id` names it.
            shape: of the logits.
        """
        tensors = self._read(self._clean_path(teacher_id, attention))
        if tensors is None or tensors.keys() != {"logits_VC", "maps_Vhw"}:
            return None
        outputs = CleanOutputs(**tensors)
        maps = outputs.maps_Vhw
        return outputs if outputs.logits_VC.shape == shape and maps.ndim == 3 and len(maps) == shape[0] else None

    def keep_clean(self, teacher_id: str, attention: str, outputs: CleanOutputs) -> None:
        """Keep a teacher's outputs on clean validation images."""
        tensors = {"logits_VC": outputs.logits_VC, "maps_Vhw": outputs.maps_Vhw}
        self._write(self._clean_path(teacher_id, attention), tensors)

    def kept_correlations(self, teacher_id: str, attention: str, num_images: int) -> KeptCorrelations | None:
        """Return the model-randomisation check of a teacher's maps if it is kept and of so many images.

        Args:
            teacher_id: which teacher.
            attention: as for `clean`.
            num_images: V.
        """
        tensors = self._read(self._randomised_path(teacher_id, attention))
        expected = dict.fromkeys(KeptCorrelations._fields, (num_images,))
        if tensors is None or {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
            return None
        return KeptCorrelations(**tensors)

    def keep_kept_correlations(self, teacher_id: str, attention: str, kept: KeptCorrelations) -> None:
        """Keep the model-randomisation check of a teacher's maps."""
        self._write(self._randomised_path(teacher_id, attention), kept._asdict())

    def keeps(self, shape: tuple[int, int, int]) -> bool:
        """Whether `keep_epoch` would keep logits of ``shape``, (N, V, C)."""
        num_train, num_val, num_classes = shape
        return self._enabled and 4 * (num_train + num_val) * num_classes <= MAX_FILE_BYTES

    @classmethod
    def forget(cls) -> None:
        """Drop what this process keeps in memory."""
        cls._memory.clear()

    def _epoch_path(self, teacher_id: str, stream_id: str, epoch: int) -> StoredFile:
        return StoredFile(self._folder, f"{teacher_id}/{stream_id}/{epoch_file(epoch)}")

    def _clean_train_path(self, teacher_id: str) -> StoredFile:
        return StoredFile(self._folder, f"{teacher_id}/clean-train{SUFFIX}")

    def _clean_path(self, teacher_id: str, attention: str) -> StoredFile:
        return StoredFile(self._folder, f"{teacher_id}/clean-{attention}{SUFFIX}")

    def _randomised_path(self, teacher_id: str, attention: str) -> StoredFile:
        return StoredFile(self._folder, f"{teacher_id}/randomised-{attention}{SUFFIX}")

    def _read(self, path: StoredFile) -> dict[str, Tensor] | None:
        if not self._enabled:
            return None
        tensors = self._memory.get(str(path))
        if tensors is None:
            try:
                tensors, _ = read_tensors(path, kind=_kind(path))
            except FileNotFoundError:
                return None
            except (CorruptFileError, StorageError, OSError) as error:
                _log.warning("a cached teacher output is computed again: %s", error)
                return None
            self._memory.put(str(path), tensors)
        return tensors

    def _write(self, path: StoredFile, tensors: dict[str, Tensor]) -> None:
        if not self._enabled or sum(tensor.nbytes for tensor in tensors.values()) > MAX_FILE_BYTES:
            return
        self._memory.put(str(path), tensors)
        try:
            write_tensors(path, tensors, None, kind=_kind(path), durable=False)
        except StorageError as error:
            # The trial can go on without its cache; a full disk stops it at its checkpoint, with the reason.
            _log.warning("a teacher output was not cached: %s", error)


def _kind(path: StoredFile) -> str:
    # The name of the file is checked with its content, so a file moved elsewhere is not taken for another's.
    return f"logits {path.name}"
