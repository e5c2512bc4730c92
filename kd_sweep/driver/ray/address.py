"""The check of a cluster's address: what it may look like, and within seconds why nothing answers there.

Left to itself Ray tries an address for two minutes, and a wrong token for twenty seconds; then it does not say which
of the two it was.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from kd_sweep.errors import ClusterError

CONNECT_S = 5.0
GREETING_S = 20.0
AUTO = "auto"
"""Ray's word for the cluster that this machine belongs to."""

GREETING = "import sys; sys.path.append(sys.argv[2]); from kd_sweep.driver.ray.private import greet; greet(sys.argv[1])"
"""Greets the head at the first argument; the second is the folder of this package. In a process of its own, since Ray
ends the process that fails in this, and is not to be imported here before its settings are made."""


def check_address(address: str) -> None:
    """Return if a Ray head answers at ``HOST:PORT`` (or `auto`) and takes this process for one of its users.

    Raises:
        ClusterError: the address is none, nothing listens there, or authentication differs. One line.
    """
    if address == AUTO:
        return
    host, port = _parts(address)
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        raise ClusterError(f"--address {address}: nothing answers there ({error.strerror or error})") from None
    if _mode() == "token" and not _has_token():
        raise ClusterError(
            f"--address {address}: RAY_AUTH_MODE is 'token' here and there is no token; set RAY_AUTH_TOKEN_PATH to "
            "the cluster's token, or RAY_AUTH_MODE=disabled if the cluster asks for none"
        )
    _greet(address)


def _parts(address: str) -> tuple[str, int]:
    where = f"--address {address}"
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            f"{where}: is a dashboard's; `kd-sweep submit` takes it, here HOST:PORT of the head is needed"
        )
    if "://" in address:
        raise ClusterError(f"{where}: is not HOST:PORT; possible: HOST:PORT of the head, or {AUTO} on a node of it")
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(f"{where}: is not HOST:PORT; possible: HOST:PORT of the head (Ray's own port is 6379)")
    return host.strip("[]"), int(port)


def _greet(address: str) -> None:
    try:
        greeted = subprocess.run(
            [sys.executable, "-c", GREETING, address, str(Path(__file__).parents[3])],
            capture_output=True,
            text=True,
            timeout=GREETING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"--address {address}: what answers there is no Ray head (it says nothing); Ray's own port is 6379"
        ) from None
    if greeted.returncode == 0:
        return
    if "InvalidAuthToken" in greeted.stderr:
        raise ClusterError(f"--address {address}: {_advice()}")
    raise ClusterError(f"--address {address}: what answers there is no Ray head, or one of another version of Ray")


def _mode() -> str:
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False


def _advice() -> str:
    if _mode() == "token":
        return "the cluster has another token than this process; set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN to its own"
    now = f"is {_mode()!r}" if _mode() else "is not set"
    return (
        f"the cluster asks for a token and RAY_AUTH_MODE {now} here; set RAY_AUTH_MODE=token, and "
        "RAY_AUTH_TOKEN_PATH to the cluster's token unless it is in ~/.ray/auth_token"
    )
