"""Names private to Ray and Tune that a sweep needs, each behind a function of its own; no other file has such a name.

Ray (2.60) offers no public way to what is done here. `tests/driver/ray/test_private.py` fails with the name, and with
Ray's version, where one of them has moved or takes other arguments. What is read from the environment is in
`kd_sweep.driver.ray.ray_settings`.
"""

import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private import node, services, utils, worker
from ray._private.parameter import RayParams
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError

from kd_sweep.driver.ray.address import AUTO
from kd_sweep.driver.ray.local_checks import SESSIONS, SOCKETS, usable_cpus
from kd_sweep.driver.ray.ray_settings import INIT_OPTIONS

T = TypeVar("T")

Daemons = Mapping[str, "subprocess.Popen[bytes]"]
"""Processes of Ray by their name."""

DAEMONS = ("raylet", "gcs_server")
"""Ray's names of the processes without which a local Ray is dead."""

LOOPBACK = "127.0.0.1"
LISTEN_PORT = "dashboard_agent_listen_port"
AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", LISTEN_PORT)
"""Where a raylet's agents would listen. A raylet that is given the ports does not wait for the agents."""

AGENTS = ("--dashboard", "--runtime_env")
"""What the raylet's options begin with that end in ``_agent_command=`` and have an agent's command line."""

STAND_IN = shlex.join(["sh", "-c", "while kill -0 $PPID; do sleep 2; done"])
"""Runs instead of an agent for as long as the raylet that has started it: a raylet ends with its agents."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Configurations, rows and records go through Ray, all of them small. By default it takes 30 % of the memory."""

WORKER_START = Path(__file__).with_name("worker_start.py")
"""The program that a raylet runs for each worker."""

POLL_S = 0.1


def own_daemons() -> Daemons:
    """Return the daemons that this process has started, by name; none where it has joined a cluster."""
    own = worker._global_node
    return {} if own is None else _daemons_of(own)


def own_logs_folder() -> Path | None:
    """Return where this process's node writes the logs of its workers; None before there is a node."""
    own = worker._global_node
    return None if own is None else Path(own.get_logs_dir_path())


def read_settings_again() -> None:
    """Make this process's Ray read its settings and its token from the environment, as when it is first imported."""
    core: Any = ray._raylet
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()


def greet(address: str) -> None:
    """Connect to a head at ``HOST:PORT``. Ray ends a process that fails in this, with the reason on stderr."""
    core: Any = ray._raylet
    core.GcsClient(address=address)


def nodes_of(address: str) -> Callable[[float], list[dict[str, Any]]]:
    """Return a function that asks a head for its nodes, dead ones too; it takes the seconds after which it fails.

    This process becomes no driver of the cluster. Of each node: `node_id`, `host`, `address`, `is_head`, `is_alive`,
    `started_at` and `ended_at` (seconds since 1970), `message` on its death, `total` and `used` resources by name.

    Args:
        address: ``HOST:PORT``, or `auto` on a machine of the cluster.
    """
    core: Any = ray._raylet
    client = core.GcsClient(address=services.canonicalize_bootstrap_address(AUTO) if address == AUTO else address)

    def ask(timeout_s: float) -> list[dict[str, Any]]:
        infos = client.get_all_node_info(timeout=timeout_s)
        usage = client.get_all_resource_usage(timeout=timeout_s).resource_usage_data.batch
        free = {one.node_id: dict(one.resources_available) for one in usage}
        return [_node_content(info, free.get(info.node_id)) for info in infos.values()]

    return ask


def _node_content(info: Any, free: dict[str, float] | None) -> dict[str, Any]:
    total, is_alive = dict(info.resources_total), info.state == 0
    used = {} if free is None else {name: amount - free.get(name, 0.0) for name, amount in total.items()}
    return {
        "node_id": info.node_id.hex(),
        "host": info.node_manager_hostname,
        "address": info.node_manager_address,
        "is_head": info.is_head_node,
        "is_alive": is_alive,
        "started_at": info.start_time_ms / 1000,
        "ended_at": None if is_alive else info.end_time_ms / 1000,
        "message": info.death_info.reason_message or None,
        "total": total,
        "used": used if is_alive else {},
    }


@contextmanager
def reports_to(take: Callable[[str], None]) -> Iterator[None]:
    """Hand each line that Ray's daemons report to ``take`` while the block runs. Ray itself prints them on stdout."""

    def reported(data: dict[str, Any], ignore_prefix: bool) -> None:  # noqa: ARG001 - as Ray calls it
        for line in data["lines"]:
            take(line)

    with _replaced(worker, "print_to_stdstream", reported):
        yield


class LocalNode(node.Node):
    """A head for one driver: on the loopback interface, and with no more daemons than a sweep needs.

    Ray starts a head for many users of many machines: a dashboard, an autoscaler, a log monitor, and two agents that
    its raylet waits for, 15 s each, however busy the machine is. A sweep asks none of them for anything, and each
    listens for the whole network; see docs/decisions/0010-a-local-ray-with-two-daemons.md.

    Args:
        ray_params: as Ray made them.
        check: called with the daemons that have been started, again and again while others start; it raises to give
            the start up.
        options: of Ray's own node.
    """

    def __init__(self, ray_params: RayParams, *, check: Callable[[Daemons], None], **options: Any) -> None:
        self._check = check
        # The ports are held, so that nobody else can listen there: workers would show the token to an agent.
        self._held = ExitStack()
        ports = {name: self._held.enter_context(_held_port()) for name in AGENT_PORTS}
        sockets = {name: str(Path(str(ray_params.temp_dir)) / socket_name) for name, socket_name in SOCKETS.items()}
        ray_params.update(node_ip_address=LOOPBACK, no_monitor=True, include_log_monitor=False, **ports, **sockets)
        ray_params.update(setup_worker_path=str(WORKER_START))
        self._listen_port = ports[LISTEN_PORT]
        try:
            with _replaced(node, "wait_for_persisted_port", self._port):
                super().__init__(ray_params, **options)
        except BaseException:
            self.kill_all_processes(check_alive=False)
            raise

    def start_api_server(self, **options: Any) -> None:
        """Start no dashboard."""

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        """Start the raylet without its agents, and wait until it serves."""
        start = services.start_ray_process

        def started(command: list[str], *rest: Any, **how: Any) -> Any:
            words = [_without_agent(word) for word in command]
            return start([*words, f"--{LISTEN_PORT}={self._listen_port}"], *rest, **how)

        with ExitStack() as stack:
            stack.enter_context(_replaced(services, "start_ray_process", started))
            # Else Ray imports all that a dashboard needs, for half a second, to see whether it is installed.
            stack.enter_context(_replaced(utils, "get_dashboard_dependency_error", lambda: None))
            super().start_raylet(*arguments, **options)
        self._once_ready(lambda: services.get_node(self.gcs_address, self._node_id))

    def kill_all_processes(self, *arguments: Any, **options: Any) -> None:
        """End the daemons and let go of the ports."""
        super().kill_all_processes(*arguments, **options)
        self._held.close()

    def _port(self, *arguments: Any, timeout_ms: int) -> int:
        core: Any = ray._raylet
        port: int = self._once_ready(lambda: core.wait_for_persisted_port(*arguments, timeout_ms=0))
        return port

    def _once_ready(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` does once it raises no more. Ray itself would wait for 30 s, also for a dead daemon."""
        while True:
            try:
                return ask()
            except RuntimeError:
                self._check(_daemons_of(self))
                time.sleep(POLL_S)


def start_local(folder: Path, check: Callable[[Daemons], None]) -> None:
    """Connect this process to a Ray of its own, whose head is a `LocalNode`.

    Args:
        folder: for Ray's sockets and logs.
        check: as for `LocalNode`.

    Raises:
        Exception: whatever Ray raises where it cannot start.
    """
    with _replaced(node, "Node", partial(LocalNode, check=check)):
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=usable_cpus(),  # Ray counts those of the whole machine
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder / SESSIONS),
            _skip_env_hook=True,  # what a runtime environment needs is an agent
            **INIT_OPTIONS,
        )


def join_local(address: str) -> None:
    """Connect this process to the `LocalNode` of another one. Ray itself would ask the machine's other interfaces.

    Raises:
        Exception: whatever Ray raises where it cannot connect.
    """
    with _replaced(services, "resolve_ip_for_localhost", lambda host: host):
        ray.init(address=address, _node_ip_address=LOOPBACK, _skip_env_hook=True, **INIT_OPTIONS)


@contextmanager
def sigterm_left_alone() -> Iterator[None]:
    """Keep Ray from taking SIGTERM for itself while it is started or joined: its handler ends the process at once."""
    with _replaced(utils, "set_sigterm_handler", lambda _: None):
        yield


@contextmanager
def without_environments() -> Iterator[None]:
    """Let Tune ask for no runtime environment while the block runs: an agent makes those, and a `LocalNode` has none.

    Tune names the driver's variables in one, for workers elsewhere. Those of this machine inherit them.
    """
    from ray.tune.execution import class_cache

    def get(self: Any, trainable_cls: type) -> Any:
        if trainable_cls not in self._cache:
            self._cache[trainable_cls] = ray.remote(trainable_cls)
        return self._cache[trainable_cls]

    with _replaced(class_cache._ActorClassCache, "get", get):
        yield


def with_tunes_environment(kind: type) -> Any:
    """Return an actor class of Ray's whose processes have the runtime environment that those of trials have."""
    from ray.tune.execution import class_cache

    return class_cache._ActorClassCache().get(kind)


@contextmanager
def uncounted_callbacks() -> Iterator[None]:
    """Let Tune not count its callbacks while the block runs.

    It counts them for statistics of use, also where those are off, and imports MLflow and Weights & Biases for it where
    they are installed: two seconds.
    """
    from ray.air._internal import usage

    with _replaced(usage, "tag_callbacks", lambda callbacks: False):  # noqa: ARG005 - as Tune calls it
        yield


@contextmanager
def other_deaths_are_an_actors() -> Iterator[None]:
    """Make Tune retry a trial whose process Ray has ended for want of memory, while the block runs.

    Ray has errors of their own for that and for a node's death, and Tune ends the whole run at one that it does not
    know.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager

    handle = RayActorManager._actor_task_failed

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError | NodeDiedError):
            exception = RayActorError(error_msg=str(exception))
        handle(self, tracked_actor_task, exception)

    with _replaced(RayActorManager, "_actor_task_failed", failed):
        yield


@contextmanager
def starting_actors_kept() -> Iterator[None]:
    """Make Tune leave processes alone that are starting, while the block runs.

    It gives the process of a trial that has ended to any other that waits, and ends the one that starts for that trial.
    Where trials take less than the start of a process, all run in the first one, and others start for ever.
    """
    from ray.tune.execution.tune_controller import TuneController

    reuse = TuneController._maybe_reuse_cached_actor

    def reuse_elsewhere(self: Any, trial: Any) -> bool:
        own = self._trial_to_actor.get(trial)
        is_starting = own in self._actor_manager.live_actors and trial not in self._resetting_trials
        return not is_starting and reuse(self, trial)

    with _replaced(TuneController, "_maybe_reuse_cached_actor", reuse_elsewhere):
        yield


def _daemons_of(one: node.Node) -> Daemons:
    return {name: infos[0].process for name, infos in one.all_processes.items() if name in DAEMONS}


def _without_agent(word: str) -> str:
    option, equals, _ = word.partition("_agent_command=")
    return f"{option}{equals}{STAND_IN}" if equals and option in AGENTS else word


@contextmanager
def _held_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind((LOOPBACK, 0))
        yield held.getsockname()[1]


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    earlier = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, earlier)
