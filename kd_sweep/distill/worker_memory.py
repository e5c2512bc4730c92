"""The memory of a worker process from one trial to the next: bounded, and free to be dropped at any time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

from kd_sweep.data.dataset import Dataset
from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.recipe import Data

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """A mapping that forgets what was used longest ago when its entries together exceed a size.

    Args:
        max_size: of all entries together.
        size_of: of one entry; by default each counts 1.
    """

    def __init__(self, max_size: int, size_of: Callable[[Value], int] = lambda _: 1) -> None:
        self._max_size = max_size
        self._size_of = size_of
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the entry and count it as used now; None where it is not kept."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Key, value: Value) -> None:
        """Keep ``value``, unless it is larger than everything may be."""
        self.drop(key)
        if self._size_of(value) > self._max_size:
            return
        self._entries[key] = value
        self._size += self._size_of(value)
        while self._size > self._max_size:
            _, oldest = self._entries.popitem(last=False)
            self._size -= self._size_of(oldest)

    def drop(self, key: Key) -> None:
        """Forget one entry."""
        if key in self._entries:
            self._size -= self._size_of(self._entries.pop(key))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._size = 0


def resident_dataset(data: Data, root: Location) -> Dataset:
    """Return the dataset, loaded once per process; its decoded images are kept where `dataset_cache_dir` says."""
    return _resident(data, dataset_cache_dir(Root.open(root)))


@lru_cache(maxsize=2)
def _resident(data: Data, folder: Path) -> Dataset:
    return load_dataset(data, folder)
