"""A whole study by `kd-sweep launch`, Ray included, against the same study by scripts written from the paper's method.

Both sides train the same networks on the same image files, as many epochs, one thread a process and as many at a
time: the teachers, and the students of all strengths, sizes and temperatures. The scripts are
`benchmarks/peer/paper_scripts.py`. CPU seconds of all processes of a side are compared, and those of a launch are
shown by process, with which of them load torch. The network itself counts the images that frozen teachers see. The
fewest possible are, for each teacher, every image of a stream once, and the clean validation images `CLEAN_PASSES`
times. A launch has to keep to them, however many slots it has.

Run: python -m benchmarks.study_against_peer
     python -m benchmarks.study_against_peer --slots 1
     python -m benchmarks.study_against_peer --launch-alone    the launch and its profile, without the scripts
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.peer import study_network
from kd_sweep.tables.reader import open_results

IMAGE_SIZE, FILE_SIZE, BATCH = 24, 48, 50
STRENGTHS, SIZES, TEMPERATURES = (0.0, 0.5), (1, 2, 3), (2.0, 4.0, 8.0)
TEACHER_CHANNELS, STUDENT_CHANNELS = 16, 8
CLEAN_PASSES = 2
"""Of each teacher over the clean validation images: for its answers with attention maps, and to check the maps."""
_SET_CHILD_SUBREAPER = 36
STUDY = """
name: study
plugins: [study_network]
data: {{name: image_folder, path: {images}, image_size: {size}}}
teacher: {{model: "study_network:residual", channels: {teacher}, epochs: {epochs}, batch_size: {batch}}}
student: {{model: "study_network:residual", channels: {student}, epochs: {epochs}, batch_size: {batch}}}
max_concurrent_trials: {slots}
search:
  augmentation_strength: {{grid: {strengths}}}
  ensemble_size: {{grid: {sizes}}}
  distillation.temperature: {{grid: {temperatures}}}
"""
Process = tuple[int, str]
"""Its id, and when it started."""


class Watched(NamedTuple):
    """What was seen of a launch."""

    by_kind: Counter[str]
    """CPU seconds by kind of process."""
    with_torch: Counter[str]
    """How many processes of each kind have loaded torch."""
    at_work: list[tuple[float, int]]
    """Again and again the time, and how many workers compute then, or wait for a CPU or a disk."""


def draw_images(folder: Path, num_train: int, num_val: int) -> None:
    """Write noisy images of ten classes, each of which has a pattern of its own."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (10, 6, 6, 3))
    for split, number in (("train", num_train), ("val", num_val)):
        for index in range(number):
            label = index % 10
            noisy = patterns[label].repeat(FILE_SIZE // 6, 0).repeat(FILE_SIZE // 6, 1) * 0.4
            noisy = noisy + rng.integers(0, 150, noisy.shape)
            file = folder / split / f"class{label}" / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.astype(np.uint8)).save(file)


def cpu_s() -> float:
    """Return what all processes that have ended below this one have computed."""
    _reap()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap() -> None:
    """Wait for processes whose parents have died: they are this one's then."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def kd_sweep_side(folder: Path, images: Path, num_epochs: int, slots: int) -> tuple[float, Watched]:
    """Run the study; return the CPU seconds of all its processes, and what was seen of them."""
    study, counts = folder / "study.yaml", folder / "counts"
    counts.mkdir()
    (folder / "study_network.py").write_text(Path(study_network.__file__).read_text())
    study.write_text(
        STUDY.format(
            images=images,
            slots=slots,
            size=IMAGE_SIZE,
            teacher=TEACHER_CHANNELS,
            student=STUDENT_CHANNELS,
            epochs=num_epochs,
            batch=BATCH,
            strengths=list(STRENGTHS),
            sizes=list(SIZES),
            temperatures=list(TEMPERATURES),
        )
    )
    before = cpu_s()
    command = [sys.executable, "-m", "kd_sweep", "launch", str(study), "--root", str(folder / "results")]
    environment = os.environ | {study_network.COUNTS: str(counts), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        seen = watched(driver)
    if driver.returncode:
        raise SystemExit((folder / "log").read_text())
    while processes_below(os.getpid(), driver.pid):  # Ray's daemons end after the driver
        time.sleep(0.2)
        _reap()
    # Where a parent does not wait for its children, the kernel adds them to nobody's sum.
    return max(cpu_s() - before, seen.by_kind.total()), seen


def watched(driver: "subprocess.Popen[bytes]") -> Watched:
    """Wait for a driver, and watch the processes below this one meanwhile."""
    seen: dict[Process, tuple[str, float]] = {}
    with_torch: set[Process] = set()
    at_work: list[tuple[float, int]] = []
    while driver.poll() is None:
        now = processes_below(os.getpid(), driver.pid)
        at_work.append((time.time(), sum(kind == "workers" and works for kind, _, works in now.values())))
        for process, (kind, seconds, _) in now.items():
            known = seen.get(process, (kind, 0.0))[0]  # one that is ending has no name any more
            seen[process] = (kind if known == "others" else known, seconds)
            if process not in with_torch and loads_torch(process[0]):
                with_torch.add(process)
        time.sleep(0.2)
    by_kind: Counter[str] = Counter()
    for kind, seconds in seen.values():
        by_kind[kind] += seconds
    return Watched(by_kind, Counter(seen[process][0] for process in with_torch), at_work)


def processes_below(ancestor: int, driver: int) -> dict[Process, tuple[str, float, bool]]:
    """Return kind and CPU seconds of each process below this one, and whether it is at work, on Linux."""
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
    found = {}
    for pid, stat in stats.items():
        above = pid
        while above in stats and above != ancestor:
            above = int(stats[above][1])
        if above == ancestor and pid != ancestor and stat[0] != "Z":
            seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            found[pid, stat[19]] = ("driver" if pid == driver else kind_of(pid), seconds, stat[0] in "RD")
    return found


def kind_of(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "others"
    if "ray::" in command or "default_worker.py" in command:
        return "workers"
    return "daemons" if "raylet" in command or "gcs_server" in command else "others"


def loads_torch(pid: int) -> bool:
    try:
        return "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def peer_side(folder: Path, images: Path, num_epochs: int, slots: int) -> tuple[float, float]:
    """Run the scripts, so many at a time; return the CPU seconds of all, and those in which processes only start."""
    common: dict[str, Any] = {"images": str(images), "image_size": IMAGE_SIZE, "batch_size": BATCH}
    common |= {"epochs": num_epochs, "learning_rate": 0.05, "teachers": []}
    common |= {"teacher_channels": TEACHER_CHANNELS, "student_channels": STUDENT_CHANNELS}
    teachers = {
        (strength, member): str(folder / f"teacher-{strength}-{member}.pt")
        for strength in STRENGTHS
        for member in range(1, max(SIZES) + 1)
    }
    of_students = [
        common
        | {"strength": strength, "temperature": temperature, "seed": 0}
        | {"teachers": [teachers[strength, member] for member in range(1, size + 1)]}
        | {"out": str(folder / f"student-{strength}-{size}-{temperature}.pt")}
        for strength in STRENGTHS
        for size in SIZES
        for temperature in TEMPERATURES
    ]
    before = cpu_s()
    with ThreadPoolExecutor(slots) as pool:
        trainings = [
            common | {"strength": strength, "seed": member, "out": out} for (strength, member), out in teachers.items()
        ]
        list(pool.map(lambda given: _script("teacher", [given]), trainings))
        list(pool.map(lambda given: _script("student", [given]), of_students))
    _script("metrics", of_students)
    computed = cpu_s() - before
    _script("metrics", [])
    return computed, (cpu_s() - before - computed) * (len(trainings) + len(of_students) + 1)


def _script(role: str, of_networks: list[dict[str, Any]]) -> None:
    command = [sys.executable, "-m", "benchmarks.peer.paper_scripts", role, json.dumps(of_networks)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, check=True)


def teacher_images(counts: Path) -> int:
    """Return how many images frozen teachers have seen."""
    return sum(int(line) for file in counts.iterdir() for line in file.read_text().split())


def least_teacher_images(num_train: int, num_val: int, num_epochs: int) -> int:
    """Return how many they have to see: of each stream every image of an epoch once, of each teacher the clean ones."""
    num_teachers = len(STRENGTHS) * max(SIZES)  # each teaches on one stream, that of its strength
    return num_teachers * (num_epochs * (num_train + num_val) + CLEAN_PASSES * num_val)


def profile(root: Path, slots: int, at_work: list[tuple[float, int]]) -> dict[str, float]:
    """Return the share of all but training in the epochs of students, and that of the time in which slots are idle.

    Idle are the slots whose process is not at work, from the first epoch of all to the last. Tables do not say it, as
    the time of a teacher there is that of its training, without validation and checkpoints.
    """
    results = open_results(root)
    epochs, teachers = results.table("epochs").to_pylist(), results.table("teachers").to_pylist()
    num_train = sum(1 for _ in (root.parent / "images/train").glob("*/*"))
    epochs_s = sum(row["epoch_s"] for row in epochs)
    training_s = sum(num_train / row["train_images_per_s"] for row in epochs)
    ends = [(row["finished_at"].timestamp(), row["epoch_s"]) for row in epochs]
    ends += [(row["finished_at"].timestamp(), row["train_s"]) for row in teachers]
    begun, ended = min(end - took for end, took in ends), max(end for end, _ in ends)
    busy = [min(number, slots) / slots for at, number in at_work if begun <= at <= ended]
    return {"evaluation": 1 - training_s / epochs_s, "idle": 1 - sum(busy) / len(busy)}


def main() -> None:
    """Run both sides one after another and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, nargs=2, default=[600, 200], help="for training and for validation")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--launch-alone", action="store_true", help="the launch and its profile, without the scripts")
    given = parser.parse_args()
    num_train, num_val = given.images
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # the CPU of processes whose parents die is counted here
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "images", num_train, num_val)
        ours, watched_launch = kd_sweep_side(folder, folder / "images", given.epochs, given.slots)
        peer = None if given.launch_alone else peer_side(folder, folder / "images", given.epochs, given.slots)
        seen, least = teacher_images(folder / "counts"), least_teacher_images(num_train, num_val, given.epochs)
        shares = profile(folder / "results", given.slots, watched_launch.at_work)
    if peer is not None:
        Console().print(comparison(ours, *peer, given.epochs))
    Console().print(parts(ours, watched_launch))
    print(f"share of metrics, evaluation and teachers' passes in the students' epochs: {shares['evaluation']:.2f}")
    print(f"share of their time in which slots are idle: {shares['idle']:.2f}")
    print(f"frozen teachers saw {seen:,} images; {least:,} are the fewest possible")
    if seen != least:
        raise SystemExit("teachers see images that they need not see")


def comparison(ours: float, theirs: float, starting: float, num_epochs: int) -> Table:
    num_students = len(STRENGTHS) * len(SIZES) * len(TEMPERATURES)
    table = Table(title=f"{num_students} students, {len(STRENGTHS) * max(SIZES)} teachers, {num_epochs} epochs each")
    for heading in ("side", "CPU s", "ratio"):
        table.add_column(heading, justify="left" if heading == "side" else "right")
    table.add_row("scripts of the paper's method", f"{theirs:.1f}", f"{theirs / ours:.2f}")
    table.add_row(
        "the same without starting processes", f"{theirs - starting:.1f}", f"{(theirs - starting) / ours:.2f}"
    )
    table.add_row("kd-sweep launch", f"{ours:.1f}", "1.00")
    return table


def parts(ours: float, launch: Watched) -> Table:
    table = Table(title="the launch by process")
    for heading in ("processes", "CPU s", "share", "load torch"):
        table.add_column(heading, justify="left" if heading == "processes" else "right")
    seconds_of = launch.by_kind | Counter({"ended unseen": max(0.0, ours - launch.by_kind.total())})
    for kind, seconds in seconds_of.most_common():
        table.add_row(kind, f"{seconds:.1f}", f"{seconds / ours:.2f}", str(launch.with_torch[kind]))
    return table


if __name__ == "__main__":
    main()
