"""The Ray that a study runs on: one of its own on this machine, or a cluster by its address."""

import logging
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from kd_sweep.catalogue.parameters import MAX_COUNT
from kd_sweep.driver.interrupts import Interrupt
from kd_sweep.driver.ray.address import check_address
from kd_sweep.driver.ray.liveness import ending_when_stuck, local_watch, node_watch
from kd_sweep.driver.ray.local_checks import usable_cpus
from kd_sweep.driver.ray.local_ray import local_ray, local_settings
from kd_sweep.driver.ray.ray_settings import IN_A_JOB, INIT_OPTIONS, QUIET, environment
from kd_sweep.driver.ray.shared_head import SharedHead, head_at, head_watch, joined_head
from kd_sweep.errors import ClusterError
from kd_sweep.study.spec import Resources

REPORTED_OTHERWISE = ("A worker died or was killed", "has been marked dead", "were killed due to the node running low")
"""Reports of Ray's daemons on what befell a trial; `kd_sweep.driver.tune.callbacks` says it in one line."""


class RayNode(TypedDict):
    """A node as `ray.nodes()` lists it."""

    NodeID: str
    Alive: bool
    NodeManagerAddress: str
    NodeManagerHostname: NotRequired[str]
    Resources: dict[str, float]


@dataclass(frozen=True)
class Cluster:
    """What the connected Ray offers."""

    nodes: tuple[RayNode, ...]
    """Every node that lives."""
    local: bool

    @property
    def resources(self) -> dict[str, float]:
        """The sum over the nodes."""
        return dict(sum((Counter(node["Resources"]) for node in self.nodes), Counter()))

    def slots(self, wanted: Resources) -> int:
        """Return how many trials of these resources run at once on the whole cluster; no trial spans two nodes."""
        return max(1, sum(slots_of_node(wanted, node["Resources"]) for node in self.nodes))

    def at_once(self, wanted: Resources, most: int | None) -> int | None:
        """Return how many trials to hand to Ray at once, `most` at most; None leaves it to what Ray finds room for.

        A cluster grows and shrinks while a sweep runs, so what it offers now is no limit there.
        """
        return min(self.slots(wanted), most or MAX_COUNT) if self.local else most

    def workers(self, wanted: Resources) -> list[RayNode]:
        """Return the nodes that a trial of these resources can run on."""
        return [node for node in self.nodes if slots_of_node(wanted, node["Resources"])]

    def describe(self, wanted: Resources) -> str:
        """Return what there is and how many trials run at once, for the user."""
        offered = ", ".join(f"{self.resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
        where = "on this machine" if self.local else "cluster"
        how = ", whose students learn in lock step" if wanted.lock_step else ""
        return f"{where}: {offered}; {self.slots(wanted)} trials at a time{how}"


def slots_of_node(wanted: Resources, offered: dict[str, float]) -> int:
    """Return how many trials of these resources run at once on a node that offers these."""
    requested = ray_resources(wanted)
    return min(math.floor(offered.get(name, 0.0) / amount + 1e-9) for name, amount in requested.items())


def ray_resources(wanted: Resources) -> dict[str, float]:
    """Return Ray's resource names and amounts, without those of which none is requested."""
    requested = {"CPU": float(wanted.cpus), "GPU": wanted.gpus} | wanted.custom
    return {name: amount for name, amount in requested.items() if amount > 0}


@contextmanager
def connected(
    address: str | None,
    wanted: Resources,
    interrupt: Interrupt,
    say: Callable[[str], None],
    last_words: Callable[[str], None],
) -> Iterator[Cluster]:
    """Start a local Ray, or connect to the one at `address`; leave it as it was on the way out.

    A cluster's workers run the driver's own code, whatever is installed on the nodes: the package travels along, once
    per node, so no two nodes can differ. (A driver that Ray runs as a job has had it sent along with the job.) What the
    package depends on must be installed on the nodes.

    Args:
        address: the cluster; None starts a local Ray.
        wanted: resources of one trial.
        interrupt: set by a signal.
        say: tells the user of what goes on meanwhile.
        last_words: tells the user why the process ends: a local Ray has died, and this process waits inside it.

    Raises:
        ClusterError: no cluster is there, no node has what a trial asks for, or this process has a Ray already.
        StorageError: there is no temporary folder for a local Ray.
        RayStartError: a local Ray does not start.
        SweepInterrupted: a signal came meanwhile.

    From then on `interrupt.check` raises `ClusterLostError` when that Ray has died.
    """
    head = head_at(address)
    _check_unconnected(address if head is None else None)
    with ExitStack() as stack:
        stack.enter_context(environment(QUIET))
        if address is None:
            stack.enter_context(local_settings())
        stack.enter_context(_quiet_reports(say))
        _enter_ray(stack, address, head, interrupt, say)
        interrupt.check_armed()
        yield from _watched(address, head, wanted, interrupt, last_words)


def _enter_ray(
    stack: ExitStack, address: str | None, head: SharedHead | None, interrupt: Interrupt, say: Callable[[str], None]
) -> None:
    """Start or join Ray until the stack is left."""
    from kd_sweep.driver.ray.private import sigterm_left_alone

    with sigterm_left_alone():
        stack.enter_context(_ray(address, head, interrupt, say))


def _ray(
    address: str | None, head: SharedHead | None, interrupt: Interrupt, say: Callable[[str], None]
) -> AbstractContextManager[None]:
    if head is not None:
        return joined_head(head)
    return local_ray(interrupt.check_armed, say) if address is None else _joined(address)


def _check_unconnected(address: str | None) -> None:
    """Check what is there before: a process has one Ray only, and one of its own, as in a notebook, is left alone."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise ClusterError(
            "this process is connected to a Ray already, of its own or of another launch; ray.shutdown() first, or "
            "launch in another process"
        )
    if address is not None:
        check_address(address)


def _watched(
    address: str | None,
    head: SharedHead | None,
    wanted: Resources,
    interrupt: Interrupt,
    last_words: Callable[[str], None],
) -> Iterator[Cluster]:
    import ray

    nodes = tuple(node for node in ray.nodes() if node["Alive"])
    is_local = address is None or head is not None
    check_fits(wanted, [node["Resources"] for node in nodes], "this machine" if is_local else str(address))
    check = head_watch(head) if head is not None else local_watch() if address is None else node_watch(address)
    interrupt.watch(check)
    with ending_when_stuck(check, last_words) if is_local else nullcontext():
        yield Cluster(nodes, local=is_local)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    try:
        ray.init(address=address, runtime_env=shipped_code(), **INIT_OPTIONS)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(_why_not_connected(address, error)) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _quiet_reports(say: Callable[[str], None]) -> Iterator[None]:
    """Keep Tune's log and Ray's reports of what the sweep says itself away from the user while the block runs."""
    from kd_sweep.driver.ray.private import reports_to

    log = logging.getLogger("ray.tune")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with reports_to(partial(_report, say)):
            yield
    finally:
        log.setLevel(level)


def _report(say: Callable[[str], None], line: str) -> None:
    """Tell what a daemon of Ray's reports."""
    if not any(known in line for known in REPORTED_OTHERWISE):
        say(f"Ray: {line.strip()}")


def shipped_code() -> dict[str, Any] | None:
    """Return the runtime environment that brings this package to the workers; None where the job has brought it."""
    if IN_A_JOB in os.environ:
        return None
    return {"py_modules": [str(Path(__file__).parents[2])], "excludes": ["__pycache__"]}


def _why_not_connected(address: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"--address {address}: this machine could not join as a driver ({lines[0]})"


def check_local_resources(wanted: Resources) -> None:
    """Refuse what this machine does not have before Ray is started for nothing."""
    cpus = usable_cpus()
    if wanted.cpus > cpus:
        raise ClusterError(f"resources.cpus: {wanted.cpus} is more than the {cpus} that this process may use here")
    if wanted.gpus:
        import torch

        if wanted.gpus > (gpus := torch.cuda.device_count()):
            raise ClusterError(
                f"resources.gpus: {wanted.gpus:g} is more than the {gpus} that torch finds on this machine; "
                "0 trains on the CPU, --address uses a cluster"
            )
    if wanted.custom:
        name = next(iter(wanted.custom))
        raise ClusterError(f"resources.custom.{name}: only a cluster (--address) can have custom resources")


def check_fits(wanted: Resources, nodes: list[dict[str, float]], cluster: str) -> None:
    """Refuse a trial that fits on no single node.

    Args:
        wanted: resources of one trial.
        nodes: the resources of each node.
        cluster: its name in the message.
    """
    requested = ray_resources(wanted)
    if any(all(node.get(name, 0.0) >= amount for name, amount in requested.items()) for node in nodes):
        return
    for name, amount in requested.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if most < amount:
            field = {"CPU": "resources.cpus", "GPU": "resources.gpus"}.get(name, f"resources.custom.{name}")
            raise ClusterError(f"{field}: {amount:g} is more than any node of {cluster} has (at most {most:g})")
    raise ClusterError(f"resources: no single node of {cluster} has all of {requested} at once")
