"""Ray's daemons on this machine for one driver: on the loopback interface, and no more of them than a sweep needs.

Ray starts a head for many users of many machines: a dashboard, an autoscaler, a log monitor, and two agents that its
raylet waits for, 15 s each, however busy the machine is. A sweep asks none of them for anything, and each listens for
the whole network. Ray (2.60) has no settings for a head without them, so this replaces parts of its `Node`; see
docs/decisions/0010-a-local-ray-with-two-daemons.md.
"""

import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private import node, services
from ray._private.parameter import RayParams

from kd_sweep.driver.ray.liveness import DAEMONS, how_ended
from kd_sweep.driver.ray.local_checks import SESSIONS, SOCKETS

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
LISTEN_PORT = "dashboard_agent_listen_port"
AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", LISTEN_PORT)
"""Where a raylet's agents would listen. A raylet that is told the ports does not wait for the agents."""

STAND_IN = shlex.join(["sh", "-c", "while kill -0 $PPID; do sleep 2; done"])
"""Runs in an agent's place for as long as the raylet that has started it: a raylet ends with its agents."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Configurations, rows and records go through Ray, all of them small. Left to itself it takes 30 % of the memory."""

POLL_S = 0.1


class LocalNode(node.Node):
    """A head of its own for one driver.

    Args:
        ray_params: as Ray made them.
        check: called while the daemons start; it raises to give the start up.
        options: of Ray's own node.

    Raises:
        RuntimeError: a daemon has ended.
    """

    def __init__(self, ray_params: RayParams, *, check: Callable[[], None], **options: Any) -> None:
        self._check = check
        # The ports are held, so that nobody else can listen there: workers would show the token to an agent.
        self._held = ExitStack()
        ports = {name: self._held.enter_context(_held_port()) for name in AGENT_PORTS}
        sockets = {name: str(Path(str(ray_params.temp_dir)) / socket_name) for name, socket_name in SOCKETS.items()}
        ray_params.update(node_ip_address=LOOPBACK, no_monitor=True, include_log_monitor=False, **ports, **sockets)
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

        with _replaced(services, "start_ray_process", started):
            super().start_raylet(*arguments, **options)
        self._once_ready(lambda: services.get_node(self.gcs_address, self._node_id))

    def kill_all_processes(self, *arguments: Any, **options: Any) -> None:
        """End the daemons and let go of the ports."""
        super().kill_all_processes(*arguments, **options)
        self._held.close()

    def _port(self, *where: Any, timeout_ms: int) -> int:
        core: Any = ray._raylet
        port: int = self._once_ready(lambda: core.wait_for_persisted_port(*where, timeout_ms=0))
        return port

    def _once_ready(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` does once it raises no more. Ray itself would wait for 30 s, also for a dead daemon."""
        while True:
            try:
                return ask()
            except RuntimeError:
                self._check_daemons()
                self._check()
                time.sleep(POLL_S)

    def _check_daemons(self) -> None:
        for name in DAEMONS:
            for info in self.all_processes.get(name, ()):
                if (code := info.process.poll()) is not None:
                    raise RuntimeError(f"its process {name} {how_ended(code)}")


def start(folder: Path, check: Callable[[], None], options: dict[str, Any]) -> None:
    """Connect this process to a Ray of its own.

    Args:
        folder: for Ray's sockets and logs.
        check: called while the daemons start; it raises to give the start up.
        options: of `ray.init`.

    Raises:
        Exception: whatever Ray raises where it cannot start.
    """
    with _replaced(node, "Node", partial(LocalNode, check=check)):
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder / SESSIONS),
            _skip_env_hook=True,  # what a runtime environment needs is an agent
            **options,
        )


@contextmanager
def without_environments() -> Iterator[None]:
    """Let Tune ask for no runtime environment while the block runs: an agent makes those, and none is there.

    Tune (2.60) names the driver's variables in one, for workers elsewhere. Those of this machine inherit them.
    """
    from ray.tune.execution import class_cache

    def get(self: Any, trainable: type) -> Any:
        if trainable not in self._cache:
            self._cache[trainable] = ray.remote(trainable)
        return self._cache[trainable]

    with _replaced(class_cache._ActorClassCache, "get", get):
        yield


def _without_agent(word: str) -> str:
    option, equals, _ = word.partition("_agent_command=")
    return f"{option}{equals}{STAND_IN}" if equals and option in ("--dashboard", "--runtime_env") else word


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
