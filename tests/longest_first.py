"""The order in which files of tests are run: the longest first, so that processes that share them end together."""

from pathlib import Path

FOLDER = Path(__file__).parent
LONGEST = (
    "service/supervision/test_served_studies.py",
    "driver/ray/test_local_ray.py",
    "test_sweeps.py",
    "driver/tune/test_sweep.py",
    "service/page/test_page_in_browser.py",
    "tables/test_fencing.py",
    "project/test_tutorial.py",
    "driver/test_plugin_sweep.py",
    "driver/tune/test_stopping_sweep.py",
    "driver/stopping/test_added_seeds.py",
    "service/page/test_page_of_running_service.py",
    "export/test_followed_exports.py",
    "export/test_killed_exports.py",
    "study/test_paper_sweeps.py",
    "driver/faults/test_soak.py",
    "service/test_served_process.py",
    "figures/report/test_report_formats.py",
    "distill/test_trial.py",
    "driver/faults/test_disk_full.py",
    "api/test_launching.py",
    "driver/tune/test_searcher_resumed.py",
    "figures/plots/test_real_study.py",
    "service/page/test_comparing_in_browser.py",
    "service/page/test_study_sections_in_browser.py",
    "figures/report/test_report.py",
    "distill/teachers/test_teachers.py",
    "networks/test_backbones.py",
    "service/test_abused_process.py",
    "service/http/statements/test_statements.py",
    "service/page/test_tools_in_browser.py",
    "driver/budgets/test_hour_budget.py",
    "export/test_network_exports.py",
    "driver/faults/test_integrity.py",
    "tables/test_crash.py",
)
"""Files that take a third of a minute or more of a process, about the longest first. The first need different roots."""


def rank(file: Path, *, has_sweeps: bool) -> int:
    """Return how early a file is run, the lowest first: the longest, those with whole sweeps, the others."""
    name = file.relative_to(FOLDER).as_posix()
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (not has_sweeps)
