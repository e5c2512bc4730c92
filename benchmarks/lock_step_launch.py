"""One study by `kd-sweep launch`, Ray included, with `resources.lock_step` and without, in turn on two slots.

The study, its network and its images are those of `benchmarks/study_against_peer.py`, with the teachers in the root
before. Once with answers of teachers kept for an epoch, as they are where they take up to 256 MB, and once without, as
with ImageNet: there two students share what the teachers answer, on two slots, and not all of their stream. CPU seconds
are of all processes of a launch. Fails where rows differ, where answers are kept and teachers see an image twice, or
where they are not kept and teachers see no fewer images in lock step.

Run: python -m benchmarks.lock_step_launch
     python -m benchmarks.lock_step_launch --runs 3 --epochs 4
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peer import study_network
from benchmarks.study_against_peer import (
    _SET_CHILD_SUBREAPER,
    BATCH,
    CLEAN_PASSES,
    IMAGE_SIZE,
    SIZES,
    STRENGTHS,
    STUDENT_CHANNELS,
    STUDY,
    TEACHER_CHANNELS,
    TEMPERATURES,
    cpu_s,
    draw_images,
    processes_below,
    teacher_images,
    watched,
)
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.reader import open_results

NOT_KEPT = "\nfrom kd_sweep.distill.teacher_logits import LogitCache\n\nLogitCache.keeps = lambda *_: False\n"
"""What a plug-in says so that answers are as too large to be kept."""


def write_study(folder: Path, images: Path, epochs: int) -> None:
    """Write the study of the comparison with a peer, for two slots."""
    content = STUDY.format(
        images=images,
        slots=2,
        size=IMAGE_SIZE,
        teacher=TEACHER_CHANNELS,
        student=STUDENT_CHANNELS,
        epochs=epochs,
        batch=BATCH,
        strengths=list(STRENGTHS),
        sizes=list(SIZES),
        temperatures=list(TEMPERATURES),
    )
    (folder / "study.yaml").write_text(content)


def launch(folder: Path, root: Path, *settings: str) -> tuple[float, float, int]:
    """Run the study; return CPU and wall seconds, and how many images frozen teachers have seen."""
    counts = root.parent / f"{root.name}-counts"
    counts.mkdir()
    environment = os.environ | {
        study_network.COUNTS: str(counts),
        "OMP_NUM_THREADS": "1",
        "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2}),
    }
    changes = [word for setting in settings for word in ("--set", setting)]
    before, began = cpu_s(), time.perf_counter()
    command = [sys.executable, "-m", "kd_sweep", "launch", str(folder / "study.yaml"), "--root", str(root), *changes]
    log = root.parent / f"{root.name}-log"
    with log.open("w") as stream:
        driver = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
        by_kind, _ = watched(driver)
    wall = time.perf_counter() - began
    if driver.returncode:
        raise SystemExit(log.read_text())
    while processes_below(os.getpid(), 0):  # Ray's daemons end after the driver
        time.sleep(0.2)
        cpu_s()
    # Where a parent does not wait for its children, the kernel adds them to nobody's sum.
    return max(cpu_s() - before, by_kind.total()), wall, teacher_images(counts)


def rows(root: Path) -> list[tuple[Any, ...]]:
    """Return all epochs by their trials, without times."""
    table = open_results(root).table("epochs").to_pylist()
    names = ("trial_id", "epoch", *REPORTED_METRICS)
    return sorted((tuple(row[name] for name in names) for row in table), key=lambda row: row[:2])


def compare(folder: Path, teachers: Path, given: argparse.Namespace, *, are_kept: bool) -> None:
    """Print the launches with and without lock step, in turn."""
    num_train, num_val = given.images
    num_teachers = len(STRENGTHS) * max(SIZES)
    fewest = num_teachers * (given.epochs * (num_train + num_val) + CLEAN_PASSES * num_val)
    ratios: list[float] = []
    for run in range(given.runs):
        seconds: dict[bool, float] = {}
        seen: dict[bool, int] = {}
        found: dict[bool, list[tuple[Any, ...]]] = {}
        for is_on in (False, True) if run % 2 == 0 else (True, False):
            root = folder / f"{are_kept}-{run}-{is_on}"
            shutil.copytree(teachers, root / "teachers")
            seconds[is_on], wall, seen[is_on] = launch(folder, root, f"resources.lock_step={str(is_on).lower()}")
            found[is_on] = rows(root)
            print(
                f"{'kept' if are_kept else 'not kept':10}{'in lock step' if is_on else 'each alone':14}"
                f"{seconds[is_on]:8.1f} CPU s{wall:8.1f} s{seen[is_on]:10,} teacher images ({fewest:,} at least)",
                flush=True,
            )
        if set(seen.values()) != {fewest} if are_kept else seen[True] >= seen[False]:
            raise SystemExit("teachers see images that they need not see")
        if found[True] != found[False]:
            raise SystemExit("rows differ")
        ratios.append(seconds[True] / seconds[False])
    print(f"ratio of CPU seconds, in lock step to each alone: {median(ratios):.2f} of {[round(r, 2) for r in ratios]}")


def main() -> None:
    """Train the teachers, then compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, nargs=2, default=[600, 200], help="for training and for validation")
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # the CPU of processes whose parents die is counted here
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "images", *given.images)
        write_study(folder, folder / "images", given.epochs)
        source = Path(study_network.__file__).read_text()
        (folder / "study_network.py").write_text(source)
        launch(folder, folder / "teachers", "search.distillation.temperature={grid: [2.0]}", "student.epochs=1")
        for are_kept in (True, False):
            (folder / "study_network.py").write_text(source + ("" if are_kept else NOT_KEPT))
            compare(folder, folder / "teachers" / "teachers", given, are_kept=are_kept)


if __name__ == "__main__":
    main()
