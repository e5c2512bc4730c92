"""A study as an RO-Crate: a folder of its tables and its study file, with what describes them for archives."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kd_sweep.export.crate_additions import read_description, with_additions
from kd_sweep.export.crate_metadata import LICENCE, METADATA, CrateFile, crate_metadata
from kd_sweep.export.export_paths import MARK, begin_folder, write_file
from kd_sweep.export.finished_study import FinishedStudy
from kd_sweep.export.request import Request, Written
from kd_sweep.storage.local_files import is_temporary

STUDY_FILE = "study.yaml"
_BEFORE = f"{METADATA}.before"
"""What described the crate before an export that was cut off: it has what people added."""
_TABLES = {
    "studies": "The study: objectives, sampler, scheduler, how it stands.",
    "trials": "A row for each finished trial: settings, last metrics, times.",
    "epochs": "A row for each epoch of each finished trial: metrics.",
    "teachers": "A row for each teacher.",
}
"""Those in the crate, and what they are. Notes are people's own, and stay where they are."""


def write_crate(request: Request) -> Written:
    """Write tables and study file, then what describes them, and whatever else lies in the folder, with digests.

    What people have added to the description stays.

    Raises:
        StorageError: the description that is there cannot be read. One line.
    """
    study, out = request.study, request.out
    contents = dict(_contents(study))
    changed = [begin_folder(out, request.mark)]
    before = read_description(out / METADATA) or read_description(out / _BEFORE)
    if (out / METADATA).exists() and any(_differs(out / name, content) for name, (content, _) in contents.items()):
        (out / METADATA).replace(out / _BEFORE)  # rather none than digests of other files
    changed += [write_file(out / name, content) for name, (content, _) in contents.items()]
    files = {name: _described(name, content, about) for name, (content, about) in contents.items()}
    files |= {name: _described(name, (out / name).read_bytes(), "") for name in _others(out, set(contents))}
    what = f"{len(study.trials)} trials, {len(files)} files"
    metadata = crate_metadata(study, files.pop(STUDY_FILE, None), list(files.values()))
    if before is not None:
        metadata = with_additions(metadata, before, LICENCE["@id"])
    changed.append(write_file(out / METADATA, json.dumps(metadata, indent=1).encode() + b"\n"))
    (out / _BEFORE).unlink(missing_ok=True)
    return Written(any(changed), what)


def _contents(study: FinishedStudy) -> Iterator[tuple[str, tuple[bytes, str]]]:
    """Yield name, content and description of each file."""
    if study.frozen is not None:
        about = "The study file with every default written out, and the versions that ran it."
        yield STUDY_FILE, (study.frozen.text.encode(), about)
    ids = pa.array([trial.trial_id for trial in study.trials])
    for name, about in _TABLES.items():
        table = study.results.table(name)
        if "trial_id" in table.column_names:
            table = table.filter(pc.is_in(table["trial_id"], ids))
        if name == "epochs":
            table = table.sort_by([("trial_id", "ascending"), ("epoch", "ascending")])
        sink = io.BytesIO()
        pq.write_table(table.combine_chunks(), sink, compression="zstd")
        yield f"{name}.parquet", (sink.getvalue(), about)


def _others(folder: Path, ours: set[str]) -> Iterator[str]:
    """Yield the names of files that somebody has put into the folder, such as figures."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in {*ours, METADATA, _BEFORE, MARK} and not is_temporary(path.name):
            yield name


def _described(name: str, content: bytes, about: str) -> CrateFile:
    return CrateFile(name, about, len(content), hashlib.sha256(content).hexdigest())


def _differs(path: Path, content: bytes) -> bool:
    return not path.is_file() or path.read_bytes() != content
