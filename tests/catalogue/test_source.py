"""The source of a plug-in: which files count, in ids and in what travels."""

from pathlib import Path

import pytest

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.errors import CorruptFileError
from tests.catalogue.modules import MARGIN, STUDY, output_of, write_modules

IDS = (
    "from kd_sweep import Study; trials = Study.from_file('s.yaml').plan().trials; "
    "print(*(trial.config.trial_id for trial in trials), *(t.teacher_id for t in trials[0].config.teachers))"
)


def ids(folder: Path) -> tuple[list[str], str]:
    *trials, teacher = output_of(IDS, folder).split()
    return trials, teacher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(STUDY)
    write_modules(tmp_path, mykd=MARGIN)
    return tmp_path


def test_an_edited_loss_makes_other_trials_and_the_same_teachers(folder: Path) -> None:
    trials, teacher = ids(folder)
    assert ids(folder) == (trials, teacher)
    write_modules(folder, mykd=MARGIN.replace("clamp(min=0)", "clamp(min=0.0)"))
    edited, same = ids(folder)
    assert same == teacher
    assert not set(edited) & set(trials)
    assert len(set(edited)) == 4


def test_another_version_makes_other_trials(folder: Path) -> None:
    version = "from kd_sweep import Study; print(Study.from_file('s.yaml').spec.distillation.source.partition('+')[0])"
    assert output_of(version, folder) == "1"
    trials, _ = ids(folder)
    write_modules(folder, mykd=MARGIN.replace("parameters=Margin)", "parameters=Margin, version='2')"))
    assert output_of(version, folder) == "2"
    assert not set(ids(folder)[0]) & set(trials)


def test_files_that_a_module_imports_count_and_others_do_not(folder: Path) -> None:
    losses = MARGIN.replace("import kd_sweep", "import kd_sweep\nfrom . import distances\nimport beside", 1)
    package = {"losses": losses, "distances": "from mykd.deeper import more", "deeper/more": "", "deeper/__init__": ""}
    write_modules(folder, {f"mykd/{name}": text for name, text in package.items()})
    write_modules(folder, {"mykd/__init__": "", "mykd/unused": "", "beside": "", "unrelated": ""})
    (folder / "mykd.py").unlink()
    (folder / "s.yaml").write_text(STUDY.replace("[mykd]", "[mykd.losses]"))
    program = (
        "from kd_sweep import Study; Study.from_file('s.yaml'); from kd_sweep.catalogue.source import source_files; "
        "print(*sorted(source_files('mykd.losses')))"
    )
    assert output_of(program, folder).split() == [
        "beside",
        "mykd",
        "mykd.deeper",
        "mykd.deeper.more",
        "mykd.distances",
        "mykd.losses",
    ]
    before = ids(folder)
    write_modules(folder, {"mykd/unused": "x = 1", "unrelated": "x = 1"})
    assert ids(folder) == before
    for name in ("mykd/deeper/more", "beside", "mykd/__init__"):
        write_modules(folder, {name: "x = 1"})
        after = ids(folder)
        assert after != before
        before = after


def test_a_virtual_environment_in_the_folder_is_no_part_of_the_plugin(folder: Path) -> None:
    write_modules(folder, {".venv/lib/site-packages/installed": "", "kd_sweep_like": ""})
    imports = "import sys; sys.path.append('.venv/lib/site-packages')\nimport installed, json, kd_sweep_like"
    write_modules(folder, mykd=f"{imports}\n{MARGIN}")
    program = (
        "from kd_sweep import Study; Study.from_file('s.yaml'); from kd_sweep.catalogue.source import source_files; "
        "print(*sorted(source_files('mykd')))"
    )
    assert output_of(program, folder) == "kd_sweep_like mykd"


def test_a_package_needs_no_init_file(folder: Path) -> None:
    (folder / "mykd.py").unlink()
    write_modules(folder, {"mykd/losses": MARGIN})
    (folder / "s.yaml").write_text(STUDY.replace("[mykd]", "[mykd.losses]"))
    program = (
        "from kd_sweep import Study; Study.from_file('s.yaml'); from kd_sweep.catalogue.bundle import PluginBundle; "
        "print(*PluginBundle.of_modules(['mykd.losses']).files)"
    )
    assert output_of(program, folder) == "mykd/losses.py"


def test_ids_without_plugins_do_not_know_of_them(folder: Path) -> None:
    text = STUDY.replace('loss: "mykd:margin", margin: 0.2', "temperature: 2").replace("distillation.power", "seed")
    (folder / "s.yaml").write_text(text)
    with_plugins = ids(folder)
    (folder / "s.yaml").write_text(text.replace("plugins: [mykd]\n", ""))
    assert ids(folder) == with_plugins


def test_a_bundle_is_the_same_bytes_for_the_same_files_and_notices_damage() -> None:
    files = {"mykd/__init__.py": b"", "mykd/losses.py": b"x = 1\n"}
    bundle, reordered = PluginBundle(files), PluginBundle(dict(reversed(files.items())))
    content = bundle.zipped()
    assert content == reordered.zipped()
    assert PluginBundle.of_zip(content, bundle.digest, "p.zip").files == files
    assert PluginBundle({**files, "mykd/losses.py": b"x = 2\n"}).digest != bundle.digest
    for damaged in (content[:-30], content.replace(b"mykd", b"mykb"), b""):
        with pytest.raises(CorruptFileError, match=r"p\.zip: is damaged"):
            PluginBundle.of_zip(damaged, bundle.digest, "p.zip")


def test_a_bundle_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    for name in ("../mykd.py", "a/../../mykd.py"):
        with pytest.raises(CorruptFileError, match="leads out of the folder"):
            PluginBundle({name: b""}).unpack(tmp_path / "inner")
    assert not list(tmp_path.rglob("mykd.py"))


def test_a_frozen_study_is_read_without_its_plugins_and_with_other_versions(folder: Path) -> None:
    (folder / "s.yaml").write_text(
        STUDY.replace('loss: "mykd:margin", ', "").replace(
            "  distillation.power", '  distillation.loss: {grid: [kl, "mykd:margin"]}\n  distillation.power'
        )
    )
    freeze = (
        "from kd_sweep import Study; from kd_sweep.study.file.frozen import frozen_yaml; "
        "from kd_sweep.driver.study_checks import checked; from pathlib import Path; "
        "spec = checked(Study.from_file('s.yaml').spec, say=print); Path('frozen').write_text(frozen_yaml(spec, {}))"
    )
    output_of(freeze, folder)
    read = (
        "from kd_sweep.study.file.frozen import parse_frozen, frozen_yaml; from pathlib import Path; "
        "text = Path('frozen').read_text(); spec = parse_frozen(text, 'frozen').spec; "
        "print(frozen_yaml(spec, {}) == text, spec.distillation.margin)"
    )
    loaded = "from kd_sweep import Study; Study.from_file('s.yaml'); "
    assert output_of(read, folder) == "True 0.2"
    assert output_of(loaded + read, folder) == "True 0.2"
    write_modules(folder, mykd=MARGIN.replace("margin: float", "gap: float").replace(".margin", ".gap"))
    (folder / "s.yaml").write_text("name: other\nplugins: [mykd]\n")
    assert output_of(loaded + read, folder) == "True 0.2"
