"""What commands do with a service instead of a folder."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import kd_sweep
from kd_sweep.cli.arguments import MORE
from kd_sweep.cli.screen import print_footnotes, print_message, print_output, print_table, screen
from kd_sweep.cli.server_option import ALL, asked
from kd_sweep.errors import UserError
from kd_sweep.waiting import doing

if TYPE_CHECKING:
    from kd_sweep.client.remote_results import RemoteResults
    from kd_sweep.tables.reader import Results

_POLL_S = 1.0


def launch_there(
    service: "RemoteResults", spec: Path, overrides: Sequence[str], priority: int, slots: int | None
) -> None:
    """Put a study into the service's queue, and say how it stands."""
    study = kd_sweep.Study.from_file(spec, overrides)
    state = service.submit(study, priority=priority, slots=slots).state()
    print_output(study.name)
    print_message(f"{study.name}: {state['state']}, {state['waiting']['why']}")
    print_message(f"follow it with: kd-sweep --server {service.root} logs {study.name} --follow")


def plan_there(service: "RemoteResults", spec: Path, overrides: Sequence[str], slots: int | None) -> None:
    """Show what a study would run on the service."""
    for line in service.plan(kd_sweep.Study.from_file(spec, overrides), slots=slots)["lines"]:
        print_output(line)


def status_there(service: "RemoteResults", root: str, output: str, *, wide: bool) -> None:
    """Show the queue of the service and the progress of its studies, or of one."""
    import pyarrow as pa

    from kd_sweep.tables.rendering.study_overview import span

    entries = list(service.entries()) if root == ALL else [service[_name(root)].state()]
    rows = []
    for entry in entries:
        progress = entry["progress"] or {}
        done = progress.get("num_completed", 0) + progress.get("num_stopped", 0)
        left = progress.get("remaining_s")
        rows.append(
            {
                "study": entry["name"],
                "state": entry["state"],
                "position": (entry["waiting"] or {}).get("position"),
                "trials": f"{done}/{progress.get('num_planned') or progress.get('num_trials', 0)}",
                "epochs": progress.get("num_epochs"),
                "best": progress.get("best_objective"),
                "left": None if left is None else span(left),
                "priority": entry["priority"],
                "by": entry["submitted_by"],
                "why": _why(entry),
            }
        )
    print_table(pa.Table.from_pylist(rows), output, wide=wide, more=MORE)
    for entry in entries if root != ALL else ():
        print_message(entry["waiting"]["why"] if entry["waiting"] else entry["state"])


def _why(entry: Mapping[str, Any]) -> str | None:
    """Return what a study of the queue waits for; else what its row says of it."""
    waiting = entry["waiting"] or {}
    why: str | None = waiting["why"] if waiting.get("position") else entry["message"]
    return why


def query_there(
    service: "RemoteResults", root: str, question: str, parameters: Mapping[str, str], output: str, *, wide: bool
) -> None:
    """Ask the tables of the service."""
    from kd_sweep.tables.queries.named_query import remarks_of

    results = asked(service, root)
    name = question.strip()
    if parameters and not name.isidentifier():
        raise UserError("SQL: has no parameters; named queries have")
    table = results.view(name, **parameters) if name.isidentifier() else results.sql(question)
    print_table(table, output, wide=wide, more=MORE)
    for remark in remarks_of(table):
        print_message(remark)
    print_footnotes(results, table.column_names)


def analyse_there(
    service: "RemoteResults",
    root: str,
    study: str | None,
    output: str,
    out: Path | None,
    margins: Sequence[str],
    *,
    wide: bool,
    complete: bool,
    **settings: Any,
) -> None:
    """Analyse a study of the service; its tables come here, and files are written here."""
    from kd_sweep.analysis.analysis_output import check_format, output_analysis
    from kd_sweep.analysis.claims.margins import read_margins
    from kd_sweep.analysis.study_analysis import analyse

    check_format(output, out)
    if output not in ("table", "json") and out is None:
        raise UserError(f"--out: is needed for {output} from a service: a folder on this machine")
    with doing("analysing the study"):
        results = cast("Results", asked(service, root))  # what the analysis calls of it, a service has too
        analysis = analyse(results, study, margin=read_margins(margins), **settings)
    stream = screen(wide=wide) if output == "table" else sys.stdout.buffer
    output_analysis(analysis, results, output, stream, out, complete=complete)
    print_footnotes(results, analysis.sample.outcomes, analysis.sample.study)


def attention_there(
    service: "RemoteResults", root: str, trials: Sequence[str], out: Path, images: int, epoch: Literal["last", "best"]
) -> None:
    """Write the sheet of attention of a trial that the service draws."""
    if len(trials) != 1 or out.suffix.lower() != ".png":
        raise UserError("attention: a service draws one trial at a time, into a .png")
    if root == ALL:
        raise UserError(f"attention: needs the name of a study of {service.root}, not {ALL!r}")
    with doing("waiting for the image"):
        content = service[_name(root)].attention(trials[0], images, epoch)
    out.write_bytes(content)
    print_message(f"wrote {out}")


def logs_there(service: "RemoteResults", name: str, *, follow: bool) -> None:
    """Show what the drivers of a study have printed."""
    study = service[_name(name)]
    cursor: str | None = None
    while True:
        state = study.state()
        page = study.log(cursor)
        while page["text"]:
            sys.stdout.write(page["text"])
            sys.stdout.flush()
            cursor = page["next"]
            page = study.log(cursor)
        cursor = page["next"]
        if not follow or state["state"] not in ("queued", "running", "pausing"):
            break
        time.sleep(_POLL_S)
    print_message(f"study {study.name}: {state['state']}")


def stop_there(service: "RemoteResults", name: str) -> None:
    """Pause a study; what is done is kept."""
    study = service[_name(name)]
    state = study.pause()
    print_message(
        f"study {study.name}: {state['state']}; go on with: kd-sweep --server {service.root} resume {study.name}"
    )


def resume_there(service: "RemoteResults", name: str) -> None:
    """Put a study back into the queue: a paused or cancelled one, or one of which trials failed."""
    study = service[_name(name)]
    is_failed = study.state()["state"] in ("failed", "finished_with_failures")
    state = study.retry() if is_failed else study.resume()
    print_message(f"study {study.name}: {state['state']}, {state['waiting']['why']}")


def _name(root: str) -> str:
    return root.removeprefix(f"{ALL}/").rstrip("/")
