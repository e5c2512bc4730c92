import numpy as np
import pytest
import torch

from kd_sweep.distill.logits import CleanOutputs, EpochLogits, LogitCache, pack_regions, packed_bytes, unpack_regions
from tests.distill.conftest import metrics_of, run, tiny_trial

SHAPE = (6, 4, 3)
LOGITS = EpochLogits(torch.arange(18.0).reshape(6, 3), torch.arange(12.0).reshape(4, 3))


@pytest.mark.parametrize("size", [1, 5, 8, 16])
def test_packed_regions_are_numpy_packbits(size):
    regions_BHW = torch.rand(7, size, size, generator=torch.Generator().manual_seed(size)) > 0.5
    packed_BP = pack_regions(regions_BHW)
    expected = np.packbits(regions_BHW.flatten(1).numpy(), axis=1, bitorder="little")
    assert np.array_equal(packed_BP.numpy(), expected)
    assert packed_BP.shape[1] == packed_bytes(size)
    assert torch.equal(unpack_regions(packed_BP, size), regions_BHW)


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


def test_clean_outputs_are_kept_per_threshold(tmp_path):
    cache = LogitCache(tmp_path)
    outputs = CleanOutputs(torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.uint8))
    cache.keep_clean("teacher", 0.4, outputs)
    LogitCache.forget()
    assert cache.clean("teacher", 0.4, (4, 3, 2)) is not None
    assert cache.clean("teacher", 0.5, (4, 3, 2)) is None


def test_a_file_moved_to_another_epoch_is_not_believed(tmp_path):
    cache = LogitCache(tmp_path)
    cache.keep_epoch("teacher", "stream", 3, LOGITS)
    LogitCache.forget()
    folder = tmp_path / "logits" / "teacher" / "stream"
    (folder / "epoch-00003.safetensors").rename(folder / "epoch-00004.safetensors")
    assert cache.epoch("teacher", "stream", 4, SHAPE) is None


def test_a_cache_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "logits").write_text("a file where a folder should be")
    LogitCache(tmp_path).keep_epoch("teacher", "stream", 1, LOGITS)


def test_too_large_entries_stay_off_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("kd_sweep.distill.logits.MAX_FILE_BYTES", 8)
    LogitCache(tmp_path).keep_epoch("teacher", "stream", 1, LOGITS)
    assert not (tmp_path / "logits").exists()


def test_trials_are_equal_with_without_and_with_a_damaged_cache(tmp_path):
    config = tiny_trial(ensemble_size=2, student={"epochs": 2})
    expected = metrics_of(run(config, tmp_path, cache_logits=False))
    assert not (tmp_path / "logits").exists()
    assert metrics_of(run(config, tmp_path)) == expected  # writes it
    files = sorted((tmp_path / "logits").rglob("*.safetensors"))
    assert len(files) == 2 * (2 + 1)
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
