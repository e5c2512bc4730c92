"""Exports of a study's trials, each opened by the tool that it is for."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import httpx
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

import kd_sweep
from kd_sweep.export.targets import TARGETS
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.command_line import Cli, assert_one_line
from tests.export.written_study import (
    FAILURE,
    FINISHED,
    OBJECTIVES,
    STUDY,
    Files,
    add_trials,
    curve,
    last_value,
    settings_of,
    write_study,
)
from tests.project.pages import EXPORTS, blocks, page_id
from tests.tables.rows import trial_id

OF_STUDIES = [name for name, target in TARGETS.items() if not target.of_network]


def exported(cli: Cli, root: Path, to: str, out: Path) -> Path:
    pytest.importorskip(TARGETS[to].modules[0] if TARGETS[to].modules else "json", reason=f"the extra {to}")
    code, printed, error = cli("export", str(root), STUDY, "--to", to, "--out", str(out))
    assert (code, printed) == (0, ""), error
    assert str(out) in error
    return out


def close(value: float, expected: float) -> bool:
    """Whether a value is the expected one in the float32 of TensorBoard."""
    return math.isclose(value, expected, rel_tol=1e-6)


# --- Optuna -----------------------------------------------------------------------------------------------------------


def loaded(out: Path) -> optuna.Study:
    """Return the study as the block of docs/exports.md reads it."""
    (block,) = (block for block in blocks(EXPORTS, "python") if "load_study" in block)
    names: dict[str, Any] = {}
    exec(
        compile(block.replace('"digits"', f'"{STUDY}"').replace("digits.log", str(out)), page_id(EXPORTS), "exec"),
        names,
    )
    study = names["study"]
    assert isinstance(study, optuna.Study)
    return study


def test_optuna_loads_trials_with_states_parameters_values_and_curves(cli: Cli, written: Path, tmp_path: Path) -> None:
    study = loaded(exported(cli, written, "optuna", tmp_path / "study.log"))
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == [objective["metric"] for objective in OBJECTIVES]
    trials = {trial.user_attrs["trial_id"]: trial for trial in study.trials}
    assert set(trials) == {trial_id(number) for number in FINISHED}
    for number, (status, _) in FINISHED.items():
        trial = trials[trial_id(number)]
        assert trial.state.name == {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}[status]
        values = [last_value(number, objective["metric"]) for objective in OBJECTIVES]
        assert trial.values == (None if status == "failed" else values)
        assert trial.intermediate_values == curve(number, "val_accuracy")
        searched = {name: value for name, value in settings_of(number).items() if value is not None}
        point = {"augmentation_strength": number % 3 / 2, "ensemble_size": number % 2 + 1, "seed": number % 5}
        assert trial.params == point | searched
    assert trials[trial_id(3)].user_attrs["error"] == FAILURE
    assert {trial.user_attrs["trial_id"] for trial in study.best_trials} <= {trial_id(0), trial_id(1)}


@contextmanager
def optuna_dashboard(journal: Path) -> Iterator[str]:
    """Serve optuna-dashboard on what was exported, and yield its address."""
    app = pytest.importorskip("optuna_dashboard").wsgi(JournalStorage(JournalFileBackend(str(journal))))
    with make_server("127.0.0.1", 0, app) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_optuna_dashboard_answers_with_every_trial(cli: Cli, written: Path, tmp_path: Path) -> None:
    with optuna_dashboard(exported(cli, written, "optuna", tmp_path / "study.log")) as url:
        (summary,) = httpx.get(f"{url}/api/studies").json()["study_summaries"]
        detail = httpx.get(f"{url}/api/studies/{summary['study_id']}").json()
    assert summary["study_name"] == STUDY
    assert (summary["directions"], detail["has_intermediate_values"]) == (["maximize", "minimize"], True)
    assert len(detail["trials"]) == len(FINISHED)
    for trial in detail["trials"]:
        (own_id,) = (item["value"] for item in trial["user_attrs"] if item["key"] == "trial_id")
        number = next(number for number in FINISHED if trial_id(number) == own_id)
        assert {item["step"]: item["value"] for item in trial["intermediate_values"]} == curve(number, "val_accuracy")
        assert {item["name"] for item in trial["params"]} >= {"augmentation_strength", "ensemble_size", "seed"}
        if FINISHED[number][0] != "failed":
            assert trial["values"] == [last_value(number, objective["metric"]) for objective in OBJECTIVES]


def test_a_completed_trial_without_its_objective_fails_in_optuna(cli: Cli, tmp_path: Path) -> None:
    write_study(tmp_path / "root", {0: ("completed", 4)})
    with StudyWriter(Root.open(tmp_path / "root"), STUDY) as writer:
        writer.upsert_trial({"trial_id": trial_id(0), "ece": None})
    (trial,) = loaded(exported(cli, tmp_path / "root", "optuna", tmp_path / "study.log")).trials
    assert (trial.state.name, trial.values) == ("FAIL", None)


# --- TensorBoard ------------------------------------------------------------------------------------------------------


def test_tensorboard_reads_scalars_and_hyperparameters(cli: Cli, written: Path, tmp_path: Path) -> None:
    out = exported(cli, written, "tensorboard", tmp_path / "logs")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    assert {folder.name for folder in out.iterdir() if folder.is_dir()} == {trial_id(number) for number in FINISHED}
    kinds = set()
    for number, (status, _) in FINISHED.items():
        run = EventAccumulator(str(out / trial_id(number)))
        run.Reload()
        for metric in ("val_accuracy", "ece"):
            scalars = {event.step: event.value for event in run.Scalars(metric)}
            expected = curve(number, metric)
            assert scalars.keys() == expected.keys()
            assert all(close(scalars[epoch], value) for epoch, value in expected.items())
        told = run.summary_metadata
        start = metadata.parse_session_start_info_plugin_data(told[metadata.SESSION_START_INFO_TAG].plugin_data.content)
        kinds.add(frozenset((name, value.WhichOneof("kind")) for name, value in start.hparams.items()))
        assert start.hparams["student_learning_rate"].number_value == settings_of(number)["student_learning_rate"]
        assert start.hparams["distillation_loss"].string_value == (settings_of(number)["distillation_loss"] or "none")
        end = metadata.parse_session_end_info_plugin_data(told[metadata.SESSION_END_INFO_TAG].plugin_data.content)
        assert end.status == (2 if status == "failed" else 1)
    assert len(kinds) == 1, "each trial has each hyperparameter, of one type"


def test_tensorboard_compares_the_trials_in_its_hparams_tab(cli: Cli, written: Path, tmp_path: Path) -> None:
    """The plugin itself answers, as the page of TensorBoard asks it."""
    out = exported(cli, written, "tensorboard", tmp_path / "logs")
    rows = session_groups(out)
    assert rows.keys() == {trial_id(number) for number in FINISHED}
    for number in FINISHED:
        assert close(rows[trial_id(number)]["ece"], last_value(number, "ece"))


def session_groups(logs: Path) -> dict[str, dict[str, float]]:
    """Return the last metrics of each trial as the HPARAMS tab shows them."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(logs))))
    experiment = get_experiment.Handler(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    assert experiment.metric_infos[0].name.tag == "val_accuracy"
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[1, 2, 3],
        slice_size=100,
        col_params=[api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos],
    )
    answer = list_session_groups.Handler(RequestContext(), context, "", request).run()
    return {group.name: {one.name.tag: one.value for one in group.metric_values} for group in answer.session_groups}


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", OF_STUDIES)
def test_an_export_done_again_changes_nothing_and_later_adds_what_has_finished(
    cli: Cli, to: str, tmp_path: Path, files_of: Callable[[Path], Files]
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    write_study(root)
    first = files_of(exported(cli, root, to, out))
    assert files_of(exported(cli, root, to, out)) == first
    with StudyWriter(Root.open(root), STUDY) as writer:
        add_trials(writer, {4: ("completed", 4)})
    later = files_of(exported(cli, root, to, out))
    assert later.keys() >= first.keys()
    assert later != first
    assert files_of(exported(cli, root, to, out)) == later


@pytest.mark.parametrize("to", OF_STUDIES)
def test_something_else_at_the_path_is_refused_and_stays(
    cli: Cli, to: str, written: Path, tmp_path: Path, files_of: Callable[[Path], Files]
) -> None:
    pytest.importorskip(TARGETS[to].modules[0] if TARGETS[to].modules else "json", reason=f"the extra {to}")
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine\n")
    (folder / "mine").mkdir(parents=True)
    before = files_of(tmp_path)
    for path in (file, folder):
        assert_one_line(cli("export", str(written), STUDY, "--to", to, "--out", str(path)), "--out", str(path))
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("written", "--to", "onyx", "--out", "o"), ("--to", "'onyx'", "did you mean 'onnx'")),
        (("writen", "--to", "optuna", "--out", "o"), ("study", "'writen'", "written")),
        (("written", "--to", "optuna", "--out", "missing/o"), ("--out", "missing", "is not a folder")),
        (("written", "--to", "optuna", "--out", "s3://bucket/o"), ("--out", "s3://bucket/o")),
        (("written", "--to", "optuna", "--out", "o", "--trial", "best"), ("--trial", "optuna", "onnx")),
        (("written", "--to", "hf", "--out", "o"), ("--trial", "best")),
        (("written", "--to", "hf", "--out", "o", "--trial", "zz"), ("trial", "'zz'")),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], parts: tuple[str, ...], cli: Cli, written: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(cli("export", str(written), *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_finished_trials_is_refused(cli: Cli, tmp_path: Path) -> None:
    write_study(tmp_path / "root", {4: ("running", 2)})
    for to in OF_STUDIES:
        if not any(missing(name) for name in TARGETS[to].modules):
            out = tmp_path / "out"
            assert_one_line(cli("export", str(tmp_path / "root"), STUDY, "--to", to, "--out", str(out)), "finished")
            assert not out.exists()


def missing(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is None


def test_a_missing_library_is_one_line_that_says_what_to_install(
    cli: Cli, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for to, target in TARGETS.items():
        if target.modules:
            out = tmp_path / "out"
            of_network = ("--trial", "best") if target.of_network else ()
            result = cli("export", str(written), STUDY, "--to", to, "--out", str(out), *of_network)
            assert_one_line(result, target.modules[0], f"pip install '.[{to}]'")
            assert not out.exists()


def test_a_study_in_python_exports_itself(written: Path, tmp_path: Path) -> None:
    study = kd_sweep.open_results(written)[STUDY]
    assert study.export("optuna", tmp_path / "study.log").changed
    assert len(loaded(tmp_path / "study.log").trials) == len(FINISHED)
    assert not study.export("optuna", tmp_path / "study.log").changed
