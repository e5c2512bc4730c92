"""The program that becomes a worker of a local Ray: Ray's own one, without the second process that Ray puts before it.

Ray runs `setup_worker.py`, which imports Ray to read a runtime environment, becomes a shell and then a Python that
imports Ray again. A `LocalNode` has no runtime environments. Nor does Python look for cycles among what is being
loaded, until the worker has what it needs (`look_for_cycles`).

This file is run by its path, in whichever environment: it imports nothing of kd_sweep.
"""

import gc
import runpy
import sys
from pathlib import Path

OF_SETUP = ("--language=", "--serialized-runtime-env-context=")
"""What Ray's raylet says to `setup_worker.py` alone."""


def start(program: str, *arguments: str) -> None:
    """Run Ray's program of a worker in this process."""
    gc.disable()
    sys.argv = [program, *(argument for argument in arguments if not argument.startswith(OF_SETUP))]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


def look_for_cycles() -> None:
    """Let Python collect again in a process that was started so; what is loaded by now stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    start(*sys.argv[1:])
