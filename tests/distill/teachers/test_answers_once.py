"""What several processes want of a teacher at the same time: one computes it, and none waits for ever."""

import signal
import threading
import time

import pytest
import torch

from kd_sweep.distill import teacher_logits
from kd_sweep.distill.teacher_logits import EpochLogits, LogitCache
from tests.distill.trials import fork_python

SHAPE = (6, 4, 3)
HOLDER = """
import sys, time
from kd_sweep.distill.teacher_logits import LogitCache

def compute(keys):
    print(*keys, flush=True)
    time.sleep(600)

LogitCache(sys.argv[1]).once({"one": "one/stream"}, lambda key: None, compute)
"""


class Slot:
    """What one of several slots asks for, in a thread of its own: locks are of open files, not of processes."""

    def __init__(self, root, takes_s=0.3):
        self.cache, self.takes_s, self.computed = LogitCache(root), takes_s, []

    def ask(self, keys):
        return self.cache.once({key: f"{key}/stream" for key in keys}, self.read, self.compute)

    def read(self, key):
        return self.cache.epoch(key, "stream", 1, SHAPE)

    def compute(self, keys):
        time.sleep(self.takes_s)
        self.computed += keys
        outputs = {key: EpochLogits(torch.full((6, 3), float(len(key))), torch.zeros(4, 3)) for key in keys}
        for key, logits in outputs.items():
            self.cache.keep_epoch(key, "stream", 1, logits)
        return outputs


def test_each_output_is_computed_once_whatever_the_order_in_which_slots_ask(tmp_path):
    wanted = [["a", "bb", "ccc"], ["ccc", "a"], ["bb"], ["ccc", "bb", "a"]]
    slots, found = [Slot(tmp_path) for _ in wanted], {}

    def ask(number):
        found[number] = slots[number].ask(wanted[number])

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(key for slot in slots for key in slot.computed) == ["a", "bb", "ccc"]
    for number, keys in enumerate(wanted):
        assert {key: float(logits.train_NC.mean()) for key, logits in found[number].items()} == {
            key: len(key) for key in keys
        }


def test_a_slot_that_raises_lets_the_others_go_on(tmp_path):
    slot = Slot(tmp_path)
    with pytest.raises(ZeroDivisionError):
        slot.cache.once({"one": "one/stream"}, slot.read, lambda keys: 1 / 0)
    assert slot.ask(["one"]).keys() == {"one"}


@pytest.fixture
def holder(tmp_path):
    process = fork_python(HOLDER, str(tmp_path))
    assert process.stdout.readline() == "one\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_was_computing_is_computed_by_who_waits(tmp_path, holder):
    slot = Slot(tmp_path)
    waiting = threading.Thread(target=slot.ask, args=[["one", "other"]])
    waiting.start()
    time.sleep(1.5)
    assert slot.computed == ["other"]
    holder.kill()
    waiting.join(timeout=30)
    assert slot.computed == ["other", "one"]


def test_a_process_that_is_suspended_is_not_waited_for_without_end(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(teacher_logits, "MAX_WAIT_S", 1.0)
    holder.send_signal(signal.SIGSTOP)
    slot, started = Slot(tmp_path), time.monotonic()
    assert slot.ask(["one"]).keys() == {"one"}
    assert time.monotonic() - started >= 1.0
    assert holder.poll() is None


def test_without_a_cache_everything_is_computed(tmp_path, holder):
    slot = Slot(tmp_path)
    slot.cache = LogitCache(tmp_path, enabled=False)
    assert slot.ask(["one"]).keys() == {"one"}
    assert slot.computed == ["one"]
