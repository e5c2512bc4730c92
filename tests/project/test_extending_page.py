"""The page on plug-ins: what stands there runs."""

from pathlib import Path

from tests.catalogue.modules import output_of
from tests.project.pages import ROOT, blocks

PAGE = ROOT / "docs/extending.md"


def test_the_plugins_on_the_page_run_in_the_study_on_the_page(tmp_path: Path) -> None:
    (study, *_) = blocks(PAGE, "yaml")
    (tmp_path / "mykd.py").write_text("\n".join(blocks(PAGE, "py")))
    (tmp_path / "study.yaml").write_text(study)
    program = (
        "import kd_sweep; "
        "study = kd_sweep.Study.from_file('study.yaml').set({'student.epochs': 1, 'teacher.epochs': 1, "
        "'data.max_train_images': 200, 'data.max_val_images': 100, 'data.image_size': 8}); "
        "print(len(study.plan().trials), len(kd_sweep.run_trial(study, 1))); "
        "study = study.set({'data.name': 'mykd:stripes', 'augmentation.pipeline': 'mykd:dimmed', "
        "'student.model': 'mykd:tiny', 'metrics.attention': 'mykd:feature_norm', "
        "'search.augmentation_strength': {'grid': [0.5]}}); "
        "print(len(study.plan().trials), kd_sweep.run_trial(study, 1)[0]['val_accuracy'] > 0.1); "
        "study = study.set({'sampler': {'name': 'mykd:joint', 'warmup': 3}}); print(len(study.plan().trials))"
    )
    assert output_of(program, tmp_path) == "2 1\n2 True\n0"
