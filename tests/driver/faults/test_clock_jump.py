"""A sweep whose driver's wall clock is put back while it runs: times only inform, nothing is decided by them."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import COMMAND, Cli, environment
from tests.comparing_tables import comparable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("cc") is None or not sys.platform.startswith("linux"), reason="needs a C compiler, and Linux"
    ),
]

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

__attribute__((constructor)) static void not_in_children(void) { unsetenv("LD_PRELOAD"); }

/* Only what Python itself asks: a library that waits for a moment of the real clock must go on doing so. */
static int is_python(void *caller) {
    Dl_info asks, python;
    void *known = dlsym(RTLD_DEFAULT, "PyErr_Occurred");
    return known && dladdr(known, &python) && dladdr(caller, &asks) && asks.dli_fbase == python.dli_fbase;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && clock == CLOCK_REALTIME && !access(getenv("PUT_BACK"), F_OK)
        && is_python(__builtin_return_address(0))) now->tv_sec -= 2 * 3600;
    return failed;
}
"""
"""The wall clock of a process, two hours behind as soon as the file PUT_BACK is there."""


def test_a_clock_that_is_put_back_changes_nothing_but_times(
    uninterrupted: Path,
    with_teachers: Path,
    tiny: Path,
    tmp_path: Path,
    cli: Cli,
) -> None:
    clock, put_back, root = tmp_path / "clock.so", tmp_path / "put_back", with_teachers
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", clock, "-ldl"], input=CLOCK, text=True, check=True)
    changed = environment() | {"LD_PRELOAD": str(clock), "PUT_BACK": str(put_back)}
    said = []
    with subprocess.Popen(
        [*COMMAND, "launch", tiny, "--root", root], stderr=subprocess.PIPE, env=changed, text=True
    ) as driver:
        assert driver.stderr is not None
        for line in driver.stderr:
            said.append(line)
            if "trial 1/4" in line:
                put_back.touch()
    assert driver.returncode == 0, said
    finished_at = open_results(root).pandas("trials").finished_at
    assert finished_at.max() - finished_at.min() > timedelta(hours=1), said
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table
    assert cli("verify", root)[0] == 0
