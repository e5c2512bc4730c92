"""Workers of a local Ray, forked from a process that has loaded what a worker loads beside Ray.

Ray's raylet runs a program for each worker. That of tests, a copy of this file, hands its arguments, environment and
streams to a process that listens beside it (`serve`). What is forked there runs kd_sweep's own `worker_start`
and loads Ray itself: Ray reads the environment while it is loaded.
"""
# ruff: noqa: PTH100, PTH109, PTH118, PTH119, PTH120 - a program that runs for each worker loads as little as it can

import os
import socket
import sys

SOCKET = "socket"
PROGRAM = "worker_start.py"
"""Names in the folder of the process that listens."""

LOADED = (
    "fsspec",
    "google.protobuf.json_format",
    "jsonschema",
    "kd_sweep.distill.trial",
    "pandas",
    "pyarrow.fs",
    "requests",
    "rich.console",
    "ruamel.yaml",
    "yaml",
)
"""What is loaded before a worker is forked."""


def ask() -> None:
    """Have the worker with the arguments of this process forked."""
    told = (os.getcwd(), os.sched_getaffinity(0), sys.argv[1:], dict(os.environ))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.join(os.path.dirname(__file__), SOCKET))
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(repr(told).encode())


def serve(folder: str, descriptor: int) -> None:
    """Fork a worker for each process that asks, until the process that has started this one ends.

    Args:
        folder: where the socket is; it goes at the end.
        descriptor: of the socket.
    """
    import gc
    import importlib
    import select
    import shutil
    import signal

    for name in LOADED:
        importlib.import_module(name)
    assert "ray" not in sys.modules
    gc.freeze()  # what all share is not looked through again by each
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as listener:
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _become_worker(connection)
            connection.close()
    shutil.rmtree(folder)


def _become_worker(connection: socket.socket) -> None:
    """Be the worker that a process asks for, as if Ray had started it with no module loaded; never return."""
    import ast
    import atexit
    import traceback

    code: object = 1
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        told = b"".join(iter(lambda: connection.recv(2**16), b""))
        connection.close()
        folder, cores, arguments, variables = ast.literal_eval(told.decode())
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.setpgrp()  # Ray ends a worker's group with it
        earlier = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        os.chdir(folder)
        os.sched_setaffinity(0, cores)
        os.environ.clear()
        os.environ.update(variables)
        now = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[1:] = [*filter(None, now), *(entry for entry in sys.path[1:] if entry not in earlier)]

        from kd_sweep.driver.ray import worker_start

        worker_start.start(*arguments)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    ask() if os.path.basename(__file__) == PROGRAM else serve(sys.argv[1], int(sys.argv[2]))
