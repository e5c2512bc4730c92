"""A built-in entry of each kind is one source file: put into a copy of the package, it is selected, checked and run."""

import json
import os
import shutil
from pathlib import Path

import kd_sweep
from tests.warm_python import FORGET_OURS, run_warm

ENTRIES = {
    "distill/losses/kl": ("kl", "nearer"),
    "attention/map_kinds/cam": ("cam", "looks"),
    "networks/entries/wrn": ("wrn", "wider"),
    "data/datasets/digits": ("digits", "numerals"),
    "augmentation/pipelines/cutmix": ("cutmix", "patched"),
    "metrics/extra/brier_score": ("brier_score", "squared_error"),
    "driver/tune/samplers/random": ("random", "anyhow"),
    "driver/stopping/rules/median": ("median", "halving"),
}
"""Files of entries, with their names and those of the new ones that are made of them."""
STUDY = """
name: new
data: {name: numerals, image_size: 8, max_train_images: 64, max_val_images: 32}
augmentation: {pipeline: patched}
teacher: {model: wider-10-1, epochs: 1}
student: {model: wider-10-1, epochs: 2}
distillation: {loss: nearer, temperature: 2.0}
metrics: {attention: looks, extra: [{name: squared_error}]}
scheduler: {name: halving, metric: val_accuracy, mode: max, min_trials: 2}
sampler: {name: anyhow, num_trials: 4}
search: {augmentation_strength: {uniform: [0.0, 1.0]}}
"""
RUNS = """
import json, sys, kd_sweep
study = kd_sweep.Study.from_file("new.yaml")
*_, row = kd_sweep.run_trial(study, 0, root="results")
from kd_sweep.study.file.json_schema import json_schema
print(json.dumps([kd_sweep.__file__, row["squared_error"], json.dumps(json_schema())]))
"""


def with_new_entries(folder: Path) -> None:
    """Copy the package into a folder, and add one file for each kind."""
    package = Path(kd_sweep.__file__).parent
    shutil.copytree(package, folder / "kd_sweep", ignore=shutil.ignore_patterns("page"))
    for file, (known, new) in ENTRIES.items():
        source = folder / "kd_sweep" / f"{file}.py"
        text = source.read_text()
        assert f'"{known}' in text
        source.with_name(f"{new}.py").write_text(text.replace(f'"{known}', f'"{new}'))


def test_an_entry_of_each_kind_is_one_file(tmp_path: Path) -> None:
    with_new_entries(tmp_path)
    (tmp_path / "new.yaml").write_text(STUDY)
    done = run_warm(f"{FORGET_OURS}\n{RUNS}", tmp_path, os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    where, score, schema = json.loads(done.stdout)
    assert Path(where).is_relative_to(tmp_path)
    assert 0 < score < 2
    for _, new in ENTRIES.values():
        assert new in schema
