"""The service that commands ask instead of a folder: what `--server` or `KD_SWEEP_SERVER` names."""

from typing import TYPE_CHECKING, Any

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
_OF_THIS_MACHINE = {
    "launch": {"root", "address"},
    "resume": {"address"},
    "plan": {"root", "probe"},
    "query": {"timeout", "memory_limit"},
    "attention": {"indices", "map_kind", "dpi"},
    "logs": {"address"},
    "stop": {"address"},
}
"""By command, the parameters that say nothing to a service."""
_OF_SERVICES = {"launch": {"priority", "slots"}}
"""And those that say nothing without one."""
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


def check_options(context: Any) -> None:
    """Raise `UserError` for an option of the command line that would change nothing, with a service or without one."""
    useless = (_OF_THIS_MACHINE if _URL else _OF_SERVICES).get(context.info_name, set())
    for parameter in context.command.params:
        if parameter.name in useless and context.get_parameter_source(parameter.name).name == "COMMANDLINE":
            is_off = context.params[parameter.name] is False
            option = (parameter.secondary_opts if is_off else parameter.opts)[0]
            if _URL:
                raise UserError(f"{option}: is for folders of this machine, and {_URL[0]} is asked; leave it out")
            raise UserError(f"{option}: is for a service, and none is asked; name one by --server or {VARIABLE}")


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
