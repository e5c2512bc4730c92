"""The order in which files of tests are run: the longest first, so that processes that share them end together."""

from pathlib import Path

FOLDER = Path(__file__).parent
LONGEST = (
    "service/supervision/test_served_studies.py",
    "driver/ray/test_local_ray.py",
    "driver/tune/test_sweep.py",
    "test_sweeps.py",
    "driver/faults/test_soak.py",
    "project/test_tutorial.py",
    "driver/test_plugin_sweep.py",
    "driver/tune/test_stopping_sweep.py",
    "driver/faults/test_disk_full.py",
    "tables/test_fencing.py",
    "api/test_launching.py",
    "service/page/test_page_in_browser.py",
    "service/page/test_page_of_running_service.py",
    "service/test_served_process.py",
    "driver/tune/test_searcher_resumed.py",
    "distill/teachers/test_teachers.py",
    "study/test_paper_sweeps.py",
    "driver/test_budget.py",
    "driver/faults/test_integrity.py",
    "tables/test_crash.py",
)
"""Files that take half a minute or more of a process, about the longest first. The first ones need different roots."""


def rank(file: Path, *, has_sweeps: bool) -> int:
    """Return how early a file is run, the lowest first: the longest, those with whole sweeps, the others."""
    name = file.relative_to(FOLDER).as_posix()
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (not has_sweeps)
