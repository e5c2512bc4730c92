"""A service by `kd_sweep.connect`: answers and errors are those of the folder; and studies in its queue."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kd_sweep
from kd_sweep import Study
from kd_sweep.errors import KdSweepError, QueryError, RemoteError, SpecError
from kd_sweep.service.access.roles import Role
from tests.command_line import environment
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY
from tests.trained_studies import train_study


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    train_study(root, TINY)
    return root


@pytest.fixture
def service(root: Path, tmp_path: Path) -> Iterator[RunningService]:
    with running(root, tmp_path) as started:
        yield started


@pytest.fixture
def remote(service: RunningService) -> kd_sweep.RemoteResults:
    return kd_sweep.connect(service.url, service.tokens[Role.ADMIN])


def test_tables_and_queries_are_those_of_the_folder(remote: kd_sweep.RemoteResults, root: Path) -> None:
    here = kd_sweep.open_results(root)
    for name in ("trials", "epochs", "studies"):
        assert remote.table(name).equals(here.table(name))
        assert remote["tiny"].table(name).equals(here["tiny"].table(name))
    query = "SELECT epoch, max(val_accuracy) AS best FROM epochs WHERE epoch > $epoch GROUP BY epoch ORDER BY epoch"
    assert remote.sql(query, {"epoch": 1}).equals(here.sql(query, {"epoch": 1}))
    assert remote["tiny"].view("leaderboard")["trial_id"].to_pylist() == [
        here["tiny"].best_trial().trial_id,
        *[
            row["trial_id"]
            for row in here.sql("SELECT * FROM trials ORDER BY objective DESC, trial_id").to_pylist()[1:]
        ],
    ]
    assert (list(remote), len(remote), "tiny" in remote, "x" in remote) == (["tiny"], 1, True, False)
    assert remote.status()[0]["num_completed"] == here.status()[0]["num_completed"] == 4
    trial = here["tiny"].best_trial()
    found = remote["tiny"].trial(trial.trial_id[:10])
    assert (found["trial_id"], found["config"]) == (trial.trial_id, trial.config.model_dump(mode="json"))
    assert remote["tiny"].epochs(trial.trial_id).equals(trial.epochs())
    assert remote["tiny"].file("study.yaml") == (root / "tiny" / "study.yaml").read_bytes()


def test_mistakes_raise_what_they_raise_here(remote: kd_sweep.RemoteResults, root: Path) -> None:
    here = kd_sweep.open_results(root)
    for query in ("SELECT nothing FROM trials", "DROP TABLE trials"):
        with pytest.raises(QueryError) as there:
            remote.sql(query)
        with pytest.raises(QueryError) as local:
            here.sql(query)
        assert str(there.value) == str(local.value)
    with pytest.raises(QueryError, match=r"study: 'tny' is not in http.*did you mean 'tiny'"):
        remote["tny"]
    with pytest.raises(RemoteError, match="study: 'tiny' is not a study of this service"):
        remote["tiny"].pause()
    wrong = Study(name="tiny", data={"name": "image_folder", "path": "/etc", "image_size": 8})
    with pytest.raises(RemoteError, match=r"^data.path: /etc lies below no folder that this server allows"):
        remote.submit(wrong)
    remote.submit(Study(name="one"))
    with pytest.raises(SpecError, match=r"student\.epoch: .*did you mean"):
        remote["one"].extend("student.epoch=4")


def test_a_study_is_submitted_once_steered_and_waited_for(
    remote: kd_sweep.RemoteResults, service: RunningService
) -> None:
    study = Study(name="mine", search={"seed": {"grid": [0, 1]}})
    submitted = remote.submit(study, priority=2, key="k")
    assert remote.submit(study, priority=2, key="k").state() == submitted.state()
    assert (submitted.state()["state"], submitted.state()["waiting"]["position"]) == ("queued", 1)
    assert Study.from_file(_written(submitted.yaml(), service.serving.state)) == study
    assert submitted.status() == []
    assert [entry["name"] for entry in remote.entries()] == ["mine", "tiny"]
    assert [entry["name"] for entry in remote.cluster()["queue"]] == ["mine"]
    with pytest.raises(RemoteError, match="study: 'mine' is queued after 0 s"):
        submitted.wait(timeout_s=0)
    assert submitted.set_priority(7)["priority"] == 7
    assert submitted.set_slots(2)["slots"] == 2
    assert submitted.pause()["state"] == "paused"
    told: list[str] = []
    assert submitted.wait(lambda content: told.append(content["state"]))["state"] == "paused"
    assert told == ["paused"]
    assert submitted.resume()["state"] == "queued"
    assert submitted.clone("other", "student.epochs=4").state()["state"] == "queued"
    assert submitted.extend("search.seed.grid=[0,1,2]")["revision"] > 1
    assert submitted.cancel()["state"] == "cancelled"
    submitted.delete()
    assert submitted.state()["wanted"] == "delete"


def test_a_launch_waits_for_the_end(remote: kd_sweep.RemoteResults) -> None:
    study = Study(name="awaited", data={"name": "digits"})
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(remote.launch, study)
        while "awaited" not in [entry["name"] for entry in remote.entries()]:
            assert not ending.done()
        remote["awaited"].cancel()
        assert ending.result(timeout=60)["state"] == "cancelled"


def test_a_token_comes_from_the_environment_or_a_file_of_ones_own(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("KD_SWEEP_TOKEN", raising=False)
    with pytest.raises(RemoteError, match=r"^token: is missing"):
        kd_sweep.connect(service.url)
    file = tmp_path / "kd_sweep" / "token"
    file.parent.mkdir()
    file.write_text(service.tokens[Role.VIEWER] + "\n")
    file.chmod(0o644)
    with pytest.raises(RemoteError, match=rf"^token: {file} can be read by others; chmod 600 {file}$"):
        kd_sweep.connect(service.url)
    file.chmod(0o600)
    assert kd_sweep.connect(service.url).whoami() == {"name": "the viewer", "role": "viewer"}
    monkeypatch.setenv("KD_SWEEP_TOKEN", service.tokens[Role.OPERATOR])
    viewer = kd_sweep.connect(service.url)
    assert viewer.whoami()["role"] == "operator"
    with pytest.raises(
        RemoteError, match=r"^role: 'the operator' has the role operator, and this needs admin$"
    ) as refused:
        viewer["tiny"].delete()
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8400", "server: '127.0.0.1:8400' is not a URL such as"),
        ("http://127.0.0.1:1", "server: http://127.0.0.1:1 cannot be reached: "),
        ("http://[", "server: "),
    ],
)
def test_a_service_that_is_none_is_one_line(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_sweep.client.service_connection._PAUSES_S", (0.01,))
    with pytest.raises(KdSweepError) as error:
        kd_sweep.connect(url, "kds_x")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_the_client_loads_no_server_and_no_torch() -> None:
    program = "import kd_sweep, sys; kd_sweep.connect; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "httpx" in loaded
    assert not loaded & {"torch", "ray", "fastapi", "uvicorn", "sqlalchemy", "optuna"}


def _written(text: str, folder: Path) -> Path:
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"
