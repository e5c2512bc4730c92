import logging

import pytest
import torch

from kd_sweep.distill.teacher_logits import CleanOutputs, EpochLogits, LogitCache
from tests.distill.trials import metrics_of, run, tiny_trial

SHAPE = (6, 4, 3)
LOGITS = EpochLogits(torch.arange(18.0).reshape(6, 3), torch.arange(12.0).reshape(4, 3))


@pytest.mark.parametrize("in_memory", [True, False])
def test_epoch_logits_come_back(tmp_path, in_memory):
    LogitCache(tmp_path).keep_epoch("teacher", "stream", 3, LOGITS)
    if not in_memory:
        LogitCache.forget()
    found = LogitCache(tmp_path).epoch("teacher", "stream", 3, SHAPE)
    assert torch.equal(found.train_NC, LOGITS.train_NC)
    assert torch.equal(found.val_augmented_VC, LOGITS.val_augmented_VC)
    assert (tmp_path / "logits" / "teacher" / "stream" / "epoch-00003.safetensors").exists()


def test_what_is_missing_or_of_another_shape_or_not_wanted_is_not_found(tmp_path):
    cache = LogitCache(tmp_path)
    cache.keep_epoch("teacher", "stream", 3, LOGITS)
    assert cache.epoch("teacher", "stream", 4, SHAPE) is None
    assert cache.epoch("teacher", "other", 3, SHAPE) is None
    assert cache.epoch("teacher", "stream", 3, (7, 4, 3)) is None
    assert LogitCache(tmp_path, enabled=False).epoch("teacher", "stream", 3, SHAPE) is None
    assert LogitCache(tmp_path / "elsewhere").epoch("teacher", "stream", 3, SHAPE) is None


def test_clean_outputs_are_kept_per_kind_of_map(tmp_path):
    cache = LogitCache(tmp_path)
    outputs = CleanOutputs(torch.rand(4, 3), torch.rand(4, 2, 2))
    cache.keep_clean("teacher", "cam", outputs)
    LogitCache.forget()
    found = cache.clean("teacher", "cam", (4, 3))
    assert torch.equal(found.logits_VC, outputs.logits_VC)
    assert torch.equal(found.maps_Vhw, outputs.maps_Vhw)
    assert cache.clean("teacher", "grad_cam", (4, 3)) is None
    assert cache.clean("teacher", "cam", (5, 3)) is None


@pytest.mark.parametrize("maps", [torch.zeros(3, 2, 2), torch.zeros(4, 4)])
def test_clean_outputs_with_maps_of_another_shape_are_not_believed(tmp_path, maps):
    LogitCache(tmp_path).keep_clean("teacher", "cam", CleanOutputs(torch.zeros(4, 3), maps))
    assert LogitCache(tmp_path).clean("teacher", "cam", (4, 3)) is None


def test_a_file_moved_to_another_epoch_is_not_believed(tmp_path):
    cache = LogitCache(tmp_path)
    cache.keep_epoch("teacher", "stream", 3, LOGITS)
    LogitCache.forget()
    folder = tmp_path / "logits" / "teacher" / "stream"
    (folder / "epoch-00003.safetensors").rename(folder / "epoch-00004.safetensors")
    assert cache.epoch("teacher", "stream", 4, SHAPE) is None


def test_a_cache_that_cannot_be_written_stops_nobody(tmp_path, caplog):
    (tmp_path / "logits").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        LogitCache(tmp_path).keep_epoch("teacher", "stream", 1, LOGITS)
    assert "a teacher output was not cached: " in caplog.text
    assert LogitCache(tmp_path).epoch("teacher", "stream", 1, SHAPE) is not None, "this process still has it in memory"
    LogitCache.forget()
    assert LogitCache(tmp_path).epoch("teacher", "stream", 1, SHAPE) is None
    assert (tmp_path / "logits").read_text() == "a file where a folder should be"


def test_too_large_entries_stay_off_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("kd_sweep.distill.teacher_logits.MAX_FILE_BYTES", 8)
    LogitCache(tmp_path).keep_epoch("teacher", "stream", 1, LOGITS)
    assert not (tmp_path / "logits").exists()


def test_trials_are_equal_with_without_and_with_a_damaged_cache(tmp_path):
    config = tiny_trial(ensemble_size=2, student={"epochs": 2})
    expected = metrics_of(run(config, tmp_path, cache_logits=False))
    assert not (tmp_path / "logits").exists()
    assert metrics_of(run(config, tmp_path)) == expected  # writes it
    files = sorted((tmp_path / "logits").rglob("*.safetensors"))
    assert len(files) == 2 * (2 + 2)  # of each teacher: two epochs, clean outputs, the randomised check
    assert metrics_of(run(config, tmp_path)) == expected  # from memory
    LogitCache.forget()
    assert metrics_of(run(config, tmp_path)) == expected  # from disk

    LogitCache.forget()
    good = [file.read_bytes() for file in files]
    for number, (file, content) in enumerate(zip(files, good, strict=True)):
        damaged = bytearray(content)
        damaged[len(content) * 3 // 4] ^= 1
        file.write_bytes([content[: len(content) // 2], bytes(damaged), b""][number % 3])
    assert metrics_of(run(config, tmp_path)) == expected
    assert [file.read_bytes() for file in files] == good
