"""The service that commands ask instead of a folder: what `--server` or `KD_SWEEP_SERVER` names."""

from typing import TYPE_CHECKING

from kd_sweep.errors import UserError
from kd_sweep.waiting import doing

if TYPE_CHECKING:
    from kd_sweep.client.remote_results import RemoteResults
    from kd_sweep.client.remote_study import RemoteTables

VARIABLE = "KD_SWEEP_SERVER"
ALL = "."
"""How a command names all studies of a service, where it names a results root otherwise."""
COMMANDS = ("launch", "resume", "plan", "status", "query", "analyse", "attention", "logs", "stop")
"""Those that can ask a service. Others work on folders of this machine."""
_URL: list[str] = []


def use_server(url: str | None, command: str | None, *, is_option: bool) -> None:
    """Let the command of this process ask a service.

    Args:
        url: of the service; a folder is read when None.
        command: its name.
        is_option: whether `--server` names it, and not the environment, which others ignore.

    Raises:
        UserError: `--server` is given to a command that works on folders of this machine.
    """
    if url is not None and command is not None and command not in COMMANDS:
        if is_option:
            raise UserError(f"--server: {command} works on this machine alone; possible: {', '.join(COMMANDS)}")
        url = None
    _URL[:] = [] if url is None else [url]


def server() -> "RemoteResults | None":
    """Return the service that commands are to ask; None where they are to read a folder.

    Raises:
        RemoteError: it cannot be reached, or does not know the token.
    """
    if not _URL:
        return None
    with doing(f"asking {_URL[0]}"):
        from kd_sweep.client.remote_results import connect

        return connect(_URL[0])


def asked(service: "RemoteResults", root: str) -> "RemoteTables":
    """Return what a command's ROOT names of a service: `.` all studies, else the study of that name."""
    return service if root == ALL else service[root.removeprefix(f"{ALL}/").rstrip("/")]
