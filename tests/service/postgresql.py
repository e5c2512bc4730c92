"""A PostgreSQL server of the test's own: on a socket in a temporary folder, and gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
WHY_NOT = "PostgreSQL is not installed (apt-get install postgresql)"


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the URL of an empty database."""
    binaries = INSTALLED[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="kd-sweep-pg-"))
    as_user = []
    if os.getuid() == 0:  # the server refuses to run as root
        account = pwd.getpwnam(USER)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = ["runuser", "-u", USER, "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)
        assert done.returncode == 0, done.stderr

    data = folder / "data"
    run("initdb", "-D", str(data), "-U", USER, "--auth=trust", "--no-sync")
    options = f"-k {folder} -h '' -F"
    run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
