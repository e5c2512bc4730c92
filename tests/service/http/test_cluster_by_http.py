"""The cluster by HTTP: nodes, dead ones too, what runs, what waits. With a Ray: `test_page_of_running_service`."""

from pathlib import Path

from kd_sweep.driver.recorder import Recorder
from kd_sweep.service.cluster.ray_nodes import NodesReport
from kd_sweep.service.http.answers.cluster_content import cluster_content
from kd_sweep.service.queue.submissions import get
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import frozen_yaml
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.service.running_service import running
from tests.tiny_study import TINY


def test_it_says_who_uses_the_slots_and_who_waits(tmp_path: Path) -> None:
    root, state = Root.open(tmp_path / "root"), tmp_path / "state"
    state.mkdir()
    root.ensure_folder()
    spec = parse_spec(TINY, "s.yaml")
    trials = [trial.config for trial in planned_trials(spec)]
    with running(tmp_path / "root", state) as service, service.client() as admin:
        for name, priority in (("tiny", 0), ("later", 0), ("sooner", 2)):
            admin.post("/api/v1/studies", json={"yaml": TINY, "name": name, "priority": priority}).raise_for_status()
        with service.serving.rows.changing() as session:
            get(session, "tiny").state = "running"
        none = admin.get("/api/v1/cluster").json()
        assert none["ray"] == {
            "address": None,
            "read_at": None,
            "problem": "no Ray is running; one starts with the next study",
        }
        assert (none["nodes"], none["max_studies"]) == ([], 1)
        assert [(study["name"], study["trials"]) for study in none["running"]] == [("tiny", [])]

        root.child("tiny").ensure_folder()
        lease = study_lease(root.child("tiny"), "tiny")  # this process is its driver
        with StudyWriter(root, "tiny", lease=lease) as writer:
            recorder = Recorder(writer, spec, lambda config: [])
            recorder.frozen(frozen_yaml(spec, {}))
            recorder.study(len(trials), "running")
            for trial in trials[:2]:
                recorder.started(trial)
            recorder.ended(trials[0].trial_id, "completed")
            writer.flush()
            shown = admin.get("/api/v1/cluster").json()
        lease.release()
    (study,) = shown["running"]
    assert [(trial["trial_id"], trial["num_epochs"]) for trial in study["trials"]] == [(trials[1].trial_id, 3)]
    assert (study["num_trials"], study["submitted_by"]) == (1, "the admin")
    assert [study["name"] for study in shown["queue"]] == ["sooner", "later"]
    assert shown["queue"][0]["why"] == "first: no study before it; the slot of this service is held by tiny (running)"
    assert shown["num_queued"] == 2


def test_nodes_that_live_come_first_and_the_dead_say_when_and_why(trained_root: Path, tmp_path: Path) -> None:
    alive = {"started_at": 1.0, "ended_at": None, "message": None, "is_alive": True, "is_head": False}
    total = {"CPU": 8.0, "GPU": 2.0, "memory": 2.0**30, "accelerator_type:H200": 1.0, "node:10.0.0.2": 1.0, "disk": 4.0}
    nodes = (
        {"node_id": "a", "host": "lost", "address": "10.0.0.3", "total": total, "used": {}}
        | alive
        | {"is_alive": False, "ended_at": 5.0, "message": "health check failed"},
        {"node_id": "b", "host": "a-worker", "address": "10.0.0.2", "total": total, "used": {"CPU": 3.0, "GPU": 0.5}}
        | alive,
        {"node_id": "c", "host": "head", "address": "10.0.0.1", "total": {"CPU": 1.0}, "used": {}}
        | alive
        | {"is_head": True},
    )
    with running(trained_root, tmp_path) as service:
        shown = cluster_content(service.serving, NodesReport("10.0.0.1:6379", nodes, 9.0))["nodes"]
    assert [(node["host"], node["last_seen_at"]) for node in shown] == [("head", 9.0), ("a-worker", 9.0), ("lost", 5.0)]
    worker, lost = shown[1:]
    assert (worker["cpus"], worker["gpus"]) == ({"total": 8.0, "used": 3.0}, {"total": 2.0, "used": 0.5})
    assert (worker["accelerators"], worker["custom"]) == (["H200"], {"disk": {"total": 4.0, "used": 0.0}})
    assert (lost["is_alive"], lost["message"]) == (False, "health check failed")
