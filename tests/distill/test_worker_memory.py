from kd_sweep.distill.worker_memory import RecentlyUsed, resident_dataset
from kd_sweep.study.recipe import Data


def test_forgets_what_was_used_longest_ago():
    kept = RecentlyUsed(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_sizes_count_and_too_large_entries_are_not_kept():
    kept = RecentlyUsed(10, size_of=len)
    kept.put("a", "x" * 6)
    kept.put("b", "x" * 11)
    assert (len(kept), kept.get("b")) == (1, None)
    kept.put("a", "x" * 2)
    kept.put("c", "x" * 8)
    assert len(kept) == 2
    kept.put("d", "x")
    assert (kept.get("a"), kept.get("c"), kept.get("d")) == (None, "x" * 8, "x")


def test_a_dataset_is_loaded_once(tmp_path):
    data = Data(image_size=8, max_train_images=50, max_val_images=50)
    assert resident_dataset(data, tmp_path) is resident_dataset(Data(**data.model_dump()), tmp_path)
