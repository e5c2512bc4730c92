"""The way to a Ray cluster: what its address may look like, and why nothing answers there, said within seconds.

Left to itself Ray tries an address for two minutes, and a wrong token for twenty seconds; then it does not say which
of the two it was.
"""

import contextlib
import os
import socket
from collections.abc import Iterator

from kd_sweep.errors import ClusterError

CONNECT_S = 5.0
AUTO = "auto"
"""Ray's word for the cluster that this machine belongs to."""


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
    _check_authentication(address)


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


def _check_authentication(address: str) -> None:
    from ray import _raylet
    from ray.exceptions import AuthenticationError

    try:
        with _nothing_on_stderr():
            _raylet.GcsClient(address=address)  # type: ignore[attr-defined]
    except AuthenticationError as error:
        raise ClusterError(f"--address {address}: {_advice(str(error))}") from None
    except Exception as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(f"--address {address}: what answers there is no Ray cluster ({first_line})") from None


def _advice(message: str) -> str:
    if "no authentication token was found" in message:
        return (
            "RAY_AUTH_MODE is 'token' here and there is no token; set RAY_AUTH_TOKEN_PATH to the cluster's token, "
            "or RAY_AUTH_MODE=disabled if the cluster has none"
        )
    mode = os.environ.get("RAY_AUTH_MODE")
    if (mode or "").lower() == "token":
        return "the cluster has another token than this process; set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN to its own"
    now = f"is {mode!r}" if mode else "is not set"
    return (
        f"the cluster asks for a token and RAY_AUTH_MODE {now} here; set RAY_AUTH_MODE=token, and "
        "RAY_AUTH_TOKEN_PATH to the cluster's token unless it is in ~/.ray/auth_token"
    )


@contextlib.contextmanager
def _nothing_on_stderr() -> Iterator[None]:
    # Ray's C++ side writes its own account of the failure there, past Python.
    kept = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silence)
