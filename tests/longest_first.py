"""The order in which files of tests are run: the longest first, so that processes that share them end together."""

import itertools
from pathlib import Path

FOLDER = Path(__file__).parent
WAITING = (
    "service/supervision/test_served_studies.py",
    "driver/ray/test_local_ray.py",
    "tables/test_fencing.py",
    "test_sweeps.py",
    "driver/stopping/test_added_seeds.py",
    "driver/tune/test_sweep.py",
    "project/test_tutorial.py",
    "service/page/test_page_of_running_service.py",
    "export/test_followed_exports.py",
    "service/test_served_process.py",
    "driver/faults/test_soak.py",
    "study/test_paper_sweeps.py",
    "driver/tune/lock_step/test_lock_step_sweep.py",
    "driver/tune/test_stopping_sweep.py",
    "driver/test_plugin_sweep.py",
    "export/test_killed_exports.py",
    "driver/faults/test_integrity.py",
    "service/test_abused_process.py",
    "cli/test_serve.py",
    "distill/teachers/test_teachers.py",
    "driver/faults/test_disk_full.py",
    "api/test_launching.py",
    "driver/budgets/test_hour_budget.py",
    "tables/test_crash.py",
    "storage/test_lease_clock.py",
    "storage/test_object_store.py",
    "service/supervision/test_supervisor.py",
    "storage/test_lease.py",
)
"""Files that take a quarter of a minute or more, mostly waiting for other processes; about the longest first."""
COMPUTING = (
    "service/page/test_page_in_browser.py",
    "figures/report/test_report_formats.py",
    "distill/test_trial.py",
    "networks/test_backbones.py",
    "driver/tune/test_searcher_resumed.py",
    "service/page/test_study_sections_in_browser.py",
    "figures/report/test_report.py",
    "cli/test_server_option.py",
    "project/test_docs.py",
    "service/page/test_comparing_in_browser.py",
    "figures/report/test_galleries.py",
    "export/test_network_exports.py",
    "service/http/test_server_process.py",
    "service/http/statements/test_statements.py",
    "service/http/test_analysis_by_http.py",
    "handles/test_mixed_ensembles.py",
    "driver/test_warm_start.py",
    "networks/test_stems.py",
    "project/test_service_page.py",
    "service/page/test_tools_in_browser.py",
    "cli/test_output.py",
    "distill/test_narrow_layers.py",
    "figures/plots/test_real_study.py",
    "project/results_page/test_results_page.py",
    "test_imports.py",
    "tables/test_writer.py",
    "study/test_malformed.py",
    "distill/students/test_lock_step.py",
    "service/http/test_results_by_http.py",
)
"""Files that compute for as long."""
LONGEST = [name for pair in itertools.zip_longest(WAITING, COMPUTING) for name in pair if name is not None]
"""In turn: a few processes that all wait would leave CPUs idle. The first three need different roots."""


def rank(file: Path, *, has_sweeps: bool) -> int:
    """Return how early a file is run, the lowest first: the longest, those with whole sweeps, the others."""
    name = file.relative_to(FOLDER).as_posix()
    if name in LONGEST:
        return LONGEST.index(name)
    return len(LONGEST) + (not has_sweeps)
