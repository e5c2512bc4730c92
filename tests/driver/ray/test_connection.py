"""What a cluster offers and what keeps it from running a study; the decisions, without a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_sweep.driver.ray.connection import IN_A_JOB, Cluster, check_fits, shipped_code
from kd_sweep.driver.ray.gpu_memory import CONTEXT_BYTES, check_share, shortened
from kd_sweep.driver.ray.local_checks import usable_cpus
from kd_sweep.driver.ray.preflight import NodeReport, check_report, node_name, versions
from kd_sweep.errors import ClusterError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import Resources
from tests.tiny_study import TINY

GIB = 2**30
HERE = {"python": "3.11.4", "ray": "2.60.0", "torch": "2.14.0", "torchvision": "0.29.0", "kd_sweep": "0.1.0"}


def node(**resources: float) -> dict[str, object]:
    return {"Resources": resources, "NodeManagerAddress": "10.0.0.1"}


def report(**changes: object) -> NodeReport:
    good = {"versions": HERE, "failure": None, "num_cuda_devices": 1, "sees_root": True, "root_failure": None}
    return NodeReport(**(good | changes))  # type: ignore[arg-type]


class TestCluster:
    def test_no_trial_spans_two_nodes(self) -> None:
        cluster = Cluster((node(CPU=3.0), node(CPU=3.0), node(CPU=1.0)), local=False)
        assert cluster.slots(Resources(cpus=2)) == 2  # seven CPUs in all, but one of each node is left over

    def test_shares_of_gpus_pack(self) -> None:
        cluster = Cluster((node(CPU=16.0, GPU=2.0),), local=False)
        assert cluster.slots(Resources(cpus=1, gpus=0.25)) == 8
        assert cluster.slots(Resources(cpus=4, gpus=0.25)) == 4
        assert cluster.slots(Resources(cpus=1, gpus=0.1)) == 16

    def test_only_nodes_that_can_run_a_trial_are_workers(self) -> None:
        head, worker = node(CPU=0.0), node(CPU=8.0, GPU=1.0)
        cluster = Cluster((head, worker), local=False)
        assert cluster.workers(Resources(gpus=1.0)) == [worker]

    def test_a_cluster_may_grow_and_this_machine_may_not(self) -> None:
        nodes = (node(CPU=4.0),)
        assert Cluster(nodes, local=False).at_once(Resources(), None) is None
        assert Cluster(nodes, local=False).at_once(Resources(), 2) == 2
        assert Cluster(nodes, local=True).at_once(Resources(), None) == 4
        assert Cluster(nodes, local=True).at_once(Resources(), 2) == 2
        assert Cluster(nodes, local=True).at_once(Resources(), 9) == 4


class TestFits:
    def test_what_fits_on_one_node(self) -> None:
        check_fits(Resources(cpus=4, gpus=1.0), [{"CPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}], "here")

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            (Resources(cpus=9), r"resources.cpus: 9 is more than any node of here has \(at most 8\)"),
            (Resources(gpus=2.0), r"resources.gpus: 2 is more than any node of here has \(at most 1\)"),
            (Resources(custom={"fast": 1.0}), r"resources.custom.fast: 1 is more than .* \(at most 0\)"),
            (Resources(cpus=8, gpus=1.0), "no single node of here has all of"),
        ],
    )
    def test_what_does_not(self, wanted: Resources, message: str) -> None:
        with pytest.raises(ClusterError, match=message):
            check_fits(wanted, [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}], "here")


class TestReport:
    def test_a_node_like_this_one_is_fine(self) -> None:
        check_report("n", report(), HERE, "/r", needs_gpu=True)
        check_report("n", report(num_cuda_devices=0), HERE, "/r", needs_gpu=False)

    @pytest.mark.parametrize("package", HERE)
    def test_another_version_is_named(self, package: str) -> None:
        with pytest.raises(ClusterError, match=f"^node n: {package} is 0.0.1 there and {HERE[package]} here; install"):
            check_report("n", report(versions=HERE | {package: "0.0.1"}), HERE, "/r", needs_gpu=False)

    def test_what_is_not_installed_is_named(self) -> None:
        there = {name: version for name, version in HERE.items() if name != "torch"}
        with pytest.raises(ClusterError, match="node n: torch is not installed there"):
            check_report("n", report(versions=there), HERE, "/r", needs_gpu=False)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"failure": "ImportError: no kornia"}, "cannot be imported there .ImportError: no kornia"),
            ({"num_cuda_devices": 0}, "torch sees no CUDA device"),
            ({"sees_root": False}, "--root /r: is not the same folder on node n"),
            ({"root_failure": "Read-only file system"}, "--root /r: node n cannot write there .Read-only"),
        ],
    )
    def test_each_obstacle_is_one_line(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(ClusterError, match=message) as caught:
            check_report("n", report(**changes), HERE, "/r", needs_gpu=True)
        assert "\n" not in str(caught.value)

    def test_this_process_names_its_own_versions(self) -> None:
        found = versions()
        assert set(found) == set(HERE)
        assert all("+" not in version for version in found.values())

    def test_nodes_are_named_as_people_do(self) -> None:
        assert node_name({"NodeManagerAddress": "10.0.0.2", "NodeManagerHostname": "w2"}) == "10.0.0.2 (w2)"
        assert node_name({"NodeManagerAddress": "10.0.0.2", "NodeManagerHostname": "10.0.0.2"}) == "10.0.0.2"


class TestGpuMemory:
    @pytest.mark.parametrize(
        ("gpus", "taken", "total"), [(0.5, 3 * GIB, 8 * GIB), (0.25, GIB, 8 * GIB), (1.0, 99 * GIB, 8 * GIB)]
    )
    def test_what_fits(self, gpus: float, taken: int, total: int) -> None:
        check_share(gpus, taken, total)

    def test_the_boundary(self) -> None:
        check_share(0.5, 4 * GIB - CONTEXT_BYTES, 8 * GIB)
        with pytest.raises(ClusterError):
            check_share(0.5, 4 * GIB - CONTEXT_BYTES + 1, 8 * GIB)

    def test_a_share_counts_by_how_many_it_packs(self) -> None:
        """0.4 of a GPU packs two trials, not two and a half."""
        check_share(0.4, 4 * GIB - CONTEXT_BYTES, 8 * GIB)

    @pytest.mark.parametrize(("taken", "advice"), [(3 * GIB, "at least 0.5 is"), (6 * GIB, "at least 1 is")])
    def test_the_advice_fits(self, taken: int, advice: str) -> None:
        with pytest.raises(ClusterError, match=f"0.25 puts 4 trials on a GPU of 8.0 GiB.*{advice}"):
            check_share(0.25, taken, 8 * GIB)
        check_share(float(advice.split()[2]), taken, 8 * GIB)

    def test_a_gpu_too_small_for_one(self) -> None:
        with pytest.raises(ClusterError, match="not even one trial fits"):
            check_share(0.5, 9 * GIB, 8 * GIB)

    def test_the_measured_trial_keeps_its_batches(self) -> None:
        trial = planned_trials(parse_spec(TINY, "tiny.yaml"))[0].config
        short = shortened(trial)
        assert (short.student.epochs, short.teacher.epochs) == (1, 1)
        assert (short.student.batch_size, short.student.model) == (trial.student.batch_size, trial.student.model)
        assert short.data.max_train_images == 200
        whole = trial.model_copy(update={"data": trial.data.model_copy(update={"max_train_images": None})})
        assert shortened(whole).data.max_train_images == 2048

    def test_the_measured_trial_has_every_teacher_of_a_mixed_ensemble(self) -> None:
        text = TINY.replace("search:", "teachers: [{}, {model: wrn-16-2, batch_size: 1024, epochs: 9}]\nsearch:")
        trial = planned_trials(parse_spec(text, "tiny.yaml"))[1].config
        short = shortened(trial.model_copy(update={"data": trial.data.model_copy(update={"max_train_images": None})}))
        assert [(member.model, member.batch_size, member.epochs) for member in short.learners] == [
            ("resnet8", 64, 1),
            ("wrn-16-2", 1024, 1),
        ]
        assert short.data.max_train_images == 3 * 1024


def usable_with(cores: set[int], program: str) -> str:
    """Run a program in a process that may use these cores."""
    limit = f"import os; os.sched_setaffinity(0, {cores}); "
    done = subprocess.run([sys.executable, "-c", limit + program], capture_output=True, text=True, timeout=120)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_a_process_that_may_use_one_core_counts_one() -> None:
    one = {min(os.sched_getaffinity(0))}
    assert usable_with(one, "from kd_sweep.driver.ray.local_checks import usable_cpus; print(usable_cpus())") == "1"
    checked = "from kd_sweep.driver.ray.connection import Resources, check_local_resources as check; "
    assert usable_with(one, checked + "check(Resources(cpus=2))").endswith(
        "resources.cpus: 2 is more than the 1 that this process may use here"
    )
    planned = (
        "from kd_sweep import Study; "
        "print(Study(name='s', search={'seed': {'grid': [0, 1, 2]}}).plan('/nowhere', probe=False).slots)"
    )
    assert usable_with(one, planned) == "1"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({}, None),
    ],
)
def test_a_containers_quota_counts(tmp_path: Path, files: dict[str, str], quota: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert usable_cpus(tmp_path) == (quota or len(os.sched_getaffinity(0)))


def test_the_package_travels_unless_the_job_has_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IN_A_JOB, raising=False)
    shipped = shipped_code()
    assert shipped is not None
    assert shipped["py_modules"][0].endswith("kd_sweep")
    monkeypatch.setenv(IN_A_JOB, "{}")
    assert shipped_code() is None
