"""Modules of plug-ins: what they register, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from tests.catalogue.modules import MARGIN, STUDY, error_of, output_of, write_modules

LOAD = "from kd_sweep import Study; study = Study.from_file('s.yaml'); "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(STUDY)
    return tmp_path


def test_parameters_of_a_plugin_are_keys_of_the_study(folder: Path) -> None:
    write_modules(folder, mykd=MARGIN)
    program = LOAD + "d = study.spec.distillation; print(d.loss, d.margin, d.power, d.alpha, len(study.plan().trials))"
    assert output_of(program, folder) == "mykd:margin 0.2 2 0.1 4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("margin: 0.2", "margin: -1"), "distillation.margin: -1 is not at least 0 (s.yaml, line 7)"),
        (("margin: 0.2", "margin: soft"), "distillation.margin: 'soft' is not a number (s.yaml, line 7)"),
        (
            ("margin: 0.2", "margins: 0.2"),
            "distillation.margins: unknown key, did you mean 'margin'? possible: alpha, ensemble_epochs, "
            "ensemble_reducer, loss, margin",
        ),
        (
            ("margin: 0.2", "temperature: 2"),
            "distillation.temperature: 2 has no effect with loss 'mykd:margin'; possible: with 'dkd' or 'kl'",
        ),
        (("mykd:margin", "mykd:margine"), "'mykd:margine' is not an option, did you mean 'mykd:margin'?"),
        (
            ("mykd:margin", "kdmy:margin"),
            "no plug-in 'kdmy' that has a loss is loaded; possible: name its module in `plugins`",
        ),
        (("grid: [1, 2]", "grid: [0, 2]"), "search.distillation.power.grid[0]: 0 is not at least 1 (s.yaml, line 10)"),
        (("plugins: [mykd]", "plugins: [mykd, other]"), "plugins[1]: there is no module 'other' where Python finds"),
        (("plugins: [mykd]", "plugins: mykd"), "plugins: 'mykd' is not a list, such as [1, 2] (s.yaml, line 3)"),
        (("plugins: [mykd]", "plugins: [json]"), "plugins[0]: module 'json' registers nothing"),
    ],
)
def test_mistakes_in_the_study_are_one_line(folder: Path, change: tuple[str, str], message: str) -> None:
    write_modules(folder, mykd=MARGIN)
    (folder / "s.yaml").write_text(STUDY.replace(*change))
    assert message in error_of(LOAD, folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "module 'mykd' cannot be imported: ZeroDivisionError: division by zero (mykd.py, line 1) (s.yaml,"),
        ("raise SystemExit(3)", "module 'mykd' cannot be imported: SystemExit: 3 (mykd.py, line 1) (s.yaml, line 3)"),
        (
            "import json\njson.loads('{')",
            "in double quotes: line 1 column 2 (char 1) (mykd.py, line 2) (s.yaml, line 3)",
        ),
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that"),
        ("x = 1", "module 'mykd' registers nothing; it has to use one of the decorators of kd_sweep, such as @loss"),
        ("import kd_sweep\nkd_sweep.loss('a b')(print)", "loss 'a b': a name is letters, digits and _"),
        (
            MARGIN + "\n\n@kd_sweep.loss('margin')\ndef other(inputs, parameters): ...",
            "loss 'mykd:margin' is registered twice: mykd.margin, mykd.other",
        ),
        (MARGIN.replace("0.5, ge", "ge"), "loss 'margin': parameter 'margin' has no default"),
        (MARGIN.replace("margin: float", "alpha: float"), "its parameter 'alpha' is a key of every loss"),
        (MARGIN.replace("kd_sweep.Parameters", "object"), "is not a subclass of kd_sweep's Parameters"),
    ],
)
def test_mistakes_in_the_module_are_one_line(folder: Path, text: str, message: str) -> None:
    write_modules(folder, mykd=text)
    assert message in error_of(LOAD, folder)


def test_an_installed_package_announces_its_module(folder: Path) -> None:
    write_modules(folder, mykd=MARGIN)
    (folder / "mykd-1.0.dist-info").mkdir()
    (folder / "mykd-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mykd\nVersion: 1.0\n")
    (folder / "mykd-1.0.dist-info/entry_points.txt").write_text("[kd_sweep]\nmykd = mykd\n")
    (folder / "s.yaml").write_text(STUDY.replace("plugins: [mykd]\n", ""))
    assert output_of(LOAD + "print(study.spec.distillation.margin)", folder) == "0.2"
    unused = "import sys; from kd_sweep import Study; Study(name='s'); print('mykd' in sys.modules)"
    assert output_of(unused, folder) == "False"


def test_two_studies_cannot_have_two_modules_of_one_name_in_one_process(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_modules(tmp_path / name, mykd=MARGIN)
        (tmp_path / name / "s.yaml").write_text(STUDY)
    program = "from kd_sweep import Study; [Study.from_file(f'{name}/s.yaml') for name in ('first', 'second')]"
    message = error_of(program, tmp_path)
    assert f"module 'mykd' is that of {tmp_path / 'first'}" in message
    assert "rename one (second/s.yaml, line 3)" in message


def test_the_schema_has_the_parameters_of_plugins_that_are_loaded(folder: Path) -> None:
    write_modules(folder, mykd=MARGIN)
    program = LOAD + (
        "from kd_sweep.study.file.json_schema import json_schema; "
        "print(json_schema()['properties']['distillation']['properties']['margin'])"
    )
    assert "'minimum': 0" in output_of(program, folder)
    assert "How far apart." in output_of(program, folder)


TWO_LOSSES = (
    MARGIN
    + """

class Wide(kd_sweep.Parameters):
    margin: float = Field(5.0, ge=4)


@kd_sweep.loss("wide", parameters=Wide)
def wide(inputs, parameters):
    return inputs.student_logits_BC.mean()
"""
)


def test_two_losses_may_have_a_parameter_of_one_name_with_other_limits_and_defaults(folder: Path) -> None:
    write_modules(folder, mykd=TWO_LOSSES)
    search = 'distillation.loss: {grid: ["mykd:margin", "mykd:wide"]}\n  distillation.margin: {grid: [0.1, 4.5]}'
    text = STUDY.replace("distillation.power: {grid: [1, 2]}", search).replace('loss: "mykd:margin", margin: 0.2', "")
    (folder / "s.yaml").write_text(text)
    assert "no trial of distillation can have loss mykd:wide, margin 0.1: 0.1 is not at least 4" in error_of(
        LOAD, folder
    )
    alone = text.replace("[0.1, 4.5]}", '[0.1, 0.2], when: {distillation.loss: "mykd:margin"}}')
    (folder / "s.yaml").write_text(alone)
    program = LOAD + "print(*(trial.config.distillation.margin for trial in study.plan().trials))"
    assert output_of(program, folder) == "0.1 0.2 5.0 0.1 0.2 5.0"


def test_a_parameter_of_one_name_has_one_type(folder: Path) -> None:
    write_modules(folder, mykd=MARGIN.replace("margin: float = Field(0.5, ge=0)", "temperature: int = 1"))
    (folder / "s.yaml").write_text(STUDY.replace(", margin: 0.2", ""))
    assert "distillation.temperature is number and whole number, in different entries" in error_of(LOAD, folder)
