"""Hosts on one machine: each with processes, a host name and, if wanted, a network of its own, to be killed whole.

Needs root, iproute2 and util-linux; `why_not` says what is missing.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parents[2] / "cluster" / "onprem"
INIT = "hostname {name}; while :; do sleep 1; done"
"""The first process of a host. A shell that waits also collects what others leave behind."""

OURS = sorted(Path(sysconfig.get_path("purelib")).glob("__editable__.kd_sweep-*.pth"))
"""How Python finds an editable install of this package. Hidden on every host: a node needs nothing of ours."""

QUICK_TO_NOTICE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5", "RETRY_S": "1"}


def why_not(*, networks: bool) -> str | None:
    """Return why hosts cannot be made here, None where they can."""
    if os.geteuid() != 0:
        return "making namespaces needs root"
    for program in ("unshare", "nsenter", *(("ip",) if networks else ())):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "true"]
    if networks:
        tried = ["unshare", "--net", "sh", "-c", "ip link add kd0 type veth peer name kd1"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return f"not permitted: {done.stderr.strip()}" if done.returncode else None


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.1)


class Network:
    """A switch with named ports, each the `eth0` of one network namespace."""

    def __init__(self) -> None:
        self._prefix = f"kd{secrets.token_hex(3)}"
        self._switch = f"{self._prefix}sw"
        self._namespaces: list[str] = []

    def __enter__(self) -> "Network":
        self._add(self._switch)
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")
        return self

    def __exit__(self, *exc: object) -> None:
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=False)

    def join(self, name: str, address: str) -> str:
        """Plug in a host and return its network namespace."""
        namespace = self._prefix + name
        self._add(namespace)
        _ip("link", "add", name, "netns", self._switch, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", self._switch, "link", "set", name, "master", "br0", "up")
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return namespace

    def cut(self, name: str) -> None:
        """Pull a host's plug."""
        _ip("-n", self._switch, "link", "set", name, "down")

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")


class Host:
    """A host: a process namespace with its own host name, and perhaps its own network.

    Args:
        name: the host name.
        folder: for its logs and Ray's temporary files.
        address: its address.
        namespace: its network namespace; this machine's own network when None.
        environment: variables of every process on it.
    """

    make: "Callable[..., Host]"
    """Makes further hosts that go when this one goes."""

    def __init__(
        self,
        name: str,
        folder: Path,
        address: str = "127.0.0.1",
        namespace: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self._place = (name, folder, address, namespace, environment)
        self._folder = folder / f"{name}-{secrets.token_hex(2)}"
        self._folder.mkdir(parents=True)
        self._ray = tempfile.mkdtemp(prefix="kd")  # the paths of Ray's sockets must stay short
        kept = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", **QUICK_TO_NOTICE, "ADDRESS": address}
        self.environment = kept | given | {"PATH": path, "COLUMNS": "300", "NO_COLOR": "1"} | dict(environment or {})
        within = ["ip", "netns", "exec", namespace] if namespace else []
        apart = ["unshare", "--pid", "--uts", "--mount", "--fork", "--kill-child=KILL", "--mount-proc"]
        self._outer = subprocess.Popen([*within, *apart, "sh", "-c", INIT.format(name=name)], stderr=subprocess.DEVNULL)
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        eventually(lambda: children.exists() and children.read_text().split(), 10, f"{name} is up")
        self._init = int(children.read_text().split()[0])
        self._processes = Path(f"/proc/{self._init}/ns/pid").readlink()
        self._started: list[subprocess.Popen[str]] = []
        for link in OURS:
            self.mount("--bind", "/dev/null", str(link))

    def start(self, *command: str, log: str | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the host. Its output goes to a file of the host's, or else to a pipe."""
        enter = ["nsenter", f"--target={self._init}", "--pid", "--uts", "--mount", "--net", "--wd=/", "--"]
        output = (self._folder / log).open("a") if log else subprocess.PIPE
        process = subprocess.Popen(
            [*enter, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment | environment,
        )
        self._started.append(process)
        return process

    def run(self, *command: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host to its end; stderr comes with stdout."""
        process = self.start(*command, **environment)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not within {timeout:g} s: {command}\n{process.communicate()[0]}") from None
        return subprocess.CompletedProcess(command, process.returncode, output)

    def mount(self, *arguments: str) -> None:
        """Mount something that only this host sees."""
        mounted = self.run("mount", *arguments)
        assert mounted.returncode == 0, mounted.stdout

    def head(self, port: int, *options: str) -> str:
        """Make this host the head of a Ray cluster and return its address."""
        self.start(str(RECIPES / "head.sh"), *self._options(), *options, log="ray.log", PORT=str(port))
        self._until_joined()
        return f"{self.address}:{port}"

    def join(self, head: str, *options: str) -> None:
        """Make this host a worker."""
        self.start(str(RECIPES / "worker.sh"), head, *self._options(), *options, log="ray.log")
        self._until_joined()

    def processes(self, *commands: str) -> list[int]:
        """Return the pids, as this process sees them, of the host's processes whose command lines start so."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if not entry.name.isdigit() or (entry / "ns" / "pid").readlink() != self._processes:
                    continue
                if (entry / "cmdline").read_bytes().decode(errors="replace").startswith(commands):
                    found.append(int(entry.name))
        return found

    def log(self, name: str = "ray.log") -> str:
        """Return what was written to a log."""
        path = self._folder / name
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        """End every process of the host at once, as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        self._outer.wait(timeout=20)
        shutil.rmtree(self._ray, ignore_errors=True)

    def reborn(self) -> "Host":
        """Return the same host, started again after it was killed."""
        return self.make(*self._place)

    def _until_joined(self) -> None:
        eventually(lambda: "Ray runtime started" in self.log(), 180, f"Ray on {self.name}")

    def _options(self) -> tuple[str, ...]:
        ports = ("--min-worker-port=0", "--max-worker-port=0")
        return (f"--temp-dir={self._ray}", "--object-store-memory=100000000", *ports)


@contextlib.contextmanager
def hosts() -> Iterator[Callable[..., Host]]:
    """Yield a way to make hosts that are all gone when the block ends."""
    made: list[Host] = []

    def make(*arguments: Any, **named: Any) -> Host:
        made.append(Host(*arguments, **named))
        made[-1].make = make
        return made[-1]

    try:
        yield make
    finally:
        for host in made:
            host.kill()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
