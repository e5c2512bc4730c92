"""The preflight of a cluster: before a study is written, every node is asked whether it can run the trials."""

import importlib
import platform
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from kd_sweep.errors import ClusterError, KdSweepError
from kd_sweep.storage.root import Root

if TYPE_CHECKING:  # the nodes import this module, and may lack what these need
    from kd_sweep.driver.ray.connection import Cluster, RayNode
    from kd_sweep.driver.ray.worker_plugins import TravellingPlugins
    from kd_sweep.study.spec import StudySpec

    TriedPlugins = tuple[TravellingPlugins, str]
    """The plug-ins of a study, and a trial of it as JSON."""

COMPARED = ("python", "ray", "torch", "torchvision", "kd_sweep")
"""What must have one version everywhere, or a trial's numbers would depend on where it ran."""

ANSWER_S = 90.0
"""How long the nodes have, all together. Starting a worker and importing torch there takes 5 to 20 s."""

PROBE = ".preflight-"
"""What the names of the files begin with that a driver and its nodes write in the root and delete."""

TRIAL_CODE = "kd_sweep.distill.trial"


@dataclass(frozen=True)
class NodeReport:
    """What one node reports of itself."""

    versions: dict[str, str]
    """Version by name, of those in `COMPARED` that are there."""
    failure: str | None
    """Why the trials' code cannot be imported there; None where it can."""
    num_cuda_devices: int
    """CUDA GPUs that torch sees there."""
    sees_root: bool
    """Whether the driver's probe file is in the results root there."""
    root_failure: str | None
    """Why the node cannot write in the results root; None where it can."""
    plugin_failure: str | None = None
    """Why the study's plug-ins cannot be loaded there; None where they can, or it has none."""


def check_cluster(cluster: "Cluster", spec: "StudySpec", storage: Root) -> None:
    """Return if every node of the cluster can run the study's trials, and as many on one GPU as it asks for.

    Args:
        cluster: the connected Ray.
        spec: the study, with its dataset resolved.
        storage: the results root.

    Raises:
        ClusterError: a node differs, or the GPUs' memory is too small. One line.
    """
    if not cluster.local:
        nodes, needs_gpu = cluster.workers(spec.resources), spec.resources.gpus > 0
        check_nodes(nodes, storage, needs_gpu=needs_gpu, plugins=_tried_plugins(spec))
    if 0 < spec.resources.gpus < 1:
        from kd_sweep.driver.ray.gpu_memory import check_memory
        from kd_sweep.study.space.plan import example_trial, plan

        tried = _tried_plugins(spec)
        check_memory(spec.resources.gpus, example_trial(spec, plan(spec)), tried[0] if tried else None)


def _tried_plugins(spec: "StudySpec") -> "TriedPlugins | None":
    """Return what a node needs to try a trial's plug-ins; None where the study has none."""
    from kd_sweep.driver.ray.worker_plugins import TravellingPlugins
    from kd_sweep.study.space.plan import example_trial, plan

    trial = example_trial(spec, plan(spec))
    if not spec.plugins and not trial.plugin_sources:
        return None
    return TravellingPlugins.of_modules(spec.plugins), trial.model_dump_json()


def check_nodes(
    nodes: Iterable["RayNode"], storage: Root, *, needs_gpu: bool, plugins: "TriedPlugins | None" = None
) -> None:
    """Return if every node has this process's versions, can import the trials' code and shares the results root.

    A probe file is written in the root, and one by each node; they are gone when this returns or raises.

    Args:
        nodes: those to check.
        storage: the results root.
        needs_gpu: whether the trials use a GPU.
        plugins: what they need of plug-ins, if anything.

    Raises:
        ClusterError: a node differs; it is named. One line.
    """
    probe = f"{PROBE}{secrets.token_hex(6)}"
    storage.write_bytes(probe, b"", durable=False)
    try:
        reports = _ask(list(nodes), storage.location, probe, plugins)
        here = versions()
        for name, report in reports.items():
            check_report(name, report, here, storage.location, needs_gpu=needs_gpu)
        for number, name in enumerate(reports):
            if not storage.exists(f"{probe}-{number}"):
                raise ClusterError(f"--root {storage.location}: what node {name} writes there does not appear here")
    finally:
        for name in storage.files():
            if name.startswith(probe):
                storage.delete(name)


def check_report(name: str, report: NodeReport, here: dict[str, str], root: str, *, needs_gpu: bool) -> None:
    """Raise `ClusterError` if what a node reports of itself keeps it from running the trials of this process.

    Args:
        name: what to call the node.
        report: its own.
        here: the versions of this process.
        root: the results root.
        needs_gpu: whether the trials use a GPU.
    """
    for package in COMPARED:
        there = report.versions.get(package)
        if there is None:
            raise ClusterError(f"node {name}: {package} is not installed there; here it is {here[package]}")
        if there != here[package]:
            raise ClusterError(
                f"node {name}: {package} is {there} there and {here[package]} here; install one version everywhere"
            )
    if report.failure is not None:
        raise ClusterError(f"node {name}: the trials' code cannot be imported there ({report.failure})")
    if report.plugin_failure is not None:
        raise ClusterError(f"node {name}: {report.plugin_failure}")
    if needs_gpu and report.num_cuda_devices == 0:
        raise ClusterError(
            f"node {name}: offers GPUs to Ray, but torch sees no CUDA device there; check its driver and CUDA build"
        )
    if not report.sees_root:
        raise ClusterError(
            f"--root {root}: is not the same folder on node {name}; use one that every node shares (NFS, s3://…)"
        )
    if report.root_failure is not None:
        raise ClusterError(f"--root {root}: node {name} cannot write there ({report.root_failure})")


def versions() -> dict[str, str]:
    """Return the versions of `COMPARED` in this process; what is not installed is left out.

    A build's own suffix (torch 2.11.0+cu128) is left out too: a head without GPU has another build of the same code.
    """
    from kd_sweep.version import __version__

    installed = {"python": platform.python_version(), "kd_sweep": __version__}
    for package in COMPARED:
        if package not in installed:
            try:
                installed[package] = metadata.version(package).partition("+")[0]
            except metadata.PackageNotFoundError:
                continue
    return installed


def report_node(root: str, probe: str, answer: str, plugins: "TriedPlugins | None") -> NodeReport:
    """Report on the node that this process runs on. Runs in a worker; everything it may lack is imported inside.

    Args:
        root: the results root.
        probe: the driver's file in it.
        answer: the file to write in it.
        plugins: the study's, if it has any, and a trial that selects their entries.
    """
    failure, num_cuda_devices = None, 0
    try:
        importlib.import_module(TRIAL_CODE)
        num_cuda_devices = importlib.import_module("torch").cuda.device_count()
    except (ImportError, OSError, RuntimeError) as error:
        failure = _one_line(error)
    plugin_failure = _plugin_failure(*plugins) if plugins is not None and failure is None else None
    root_failure: str | None = None
    sees_root = False
    try:
        storage = Root.open(root)
        sees_root = storage.exists(probe)
        if sees_root:  # else writing would make the folder on this node alone
            storage.write_bytes(answer, b"", durable=False)
    except Exception as error:  # whatever it is, the driver must know it
        root_failure = _one_line(error)
    return NodeReport(versions(), failure, num_cuda_devices, sees_root, root_failure, plugin_failure)


def _plugin_failure(plugins: "TravellingPlugins", trial_json: str) -> str | None:
    """Return why a trial's plug-ins cannot be loaded on this node; None where they can."""
    from kd_sweep.driver.ray.worker_plugins import with_entries
    from kd_sweep.study.trial import TrialConfig

    try:
        plugins.load()
        with_entries(TrialConfig.model_validate_json(trial_json))
    except KdSweepError as error:
        return str(error)
    return None


def node_name(node: "RayNode") -> str:
    """Return what a person calls a node: its address, and its host name where that differs."""
    address, host = node["NodeManagerAddress"], node.get("NodeManagerHostname")
    return f"{address} ({host})" if host and host != address else str(address)


def _ask(nodes: "list[RayNode]", root: str, probe: str, plugins: "TriedPlugins | None") -> dict[str, NodeReport]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(report_node)
    names = {
        task.options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(root, probe, f"{probe}-{number}", plugins): node_name(node)
        for number, node in enumerate(nodes)
    }
    done, waiting = ray.wait(list(names), num_returns=len(names), timeout=ANSWER_S)
    reports = {}
    for reference in done:
        try:
            reports[names[reference]] = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise ClusterError(f"node {names[reference]}: could not be checked ({_cause(error)})") from error
    if waiting:
        silent = ", ".join(names[reference] for reference in waiting)
        raise ClusterError(f"node {silent}: did not answer within {ANSWER_S:g} s; see `ray status` and its logs")
    return {name: reports[name] for name in names.values()}


def _cause(error: Exception) -> str:
    from kd_sweep.driver.ray.lost_processes import why_lost

    cause = getattr(error, "cause", None)
    return why_lost(str(error)) if cause is None else _one_line(cause)


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
