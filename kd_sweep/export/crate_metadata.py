"""The description of a study in an RO-Crate: JSON-LD by the terms of Process Run Crate.

Source: RO-Crate 1.1, https://w3id.org/ro/crate/1.1, and Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5.
"""

import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from kd_sweep.driver.study_folder import PACKAGES
from kd_sweep.export.finished_study import FinishedStudy
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.version import __version__

METADATA = "ro-crate-metadata.json"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = [f"{_CRATE}/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
_FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}
_ANY_FORMAT = "application/octet-stream"
_PYTHON = "https://www.python.org/"
_PYPI = "https://pypi.org/project"
_MOST_VALUES = 20
"""Of a setting: with more, only the range is told."""

Entity = dict[str, Any]
LICENCE: Entity = {
    "@id": "#licence-unknown",
    "@type": "CreativeWork",
    "name": "unknown",
    "description": "Nobody has said under which licence these files are: say it before you publish them.",
}


@dataclass(frozen=True)
class CrateFile:
    """A file of a crate."""

    name: str
    """Its path below the crate's folder."""
    about: str
    """A sentence; empty of files that others have put there."""
    num_bytes: int
    sha256: str
    """Hexadecimal."""


def crate_metadata(study: FinishedStudy, study_file: CrateFile | None, results: list[CrateFile]) -> Entity:
    """Return what describes a study. Who are its authors, and under which licence it is, nobody has told kd_sweep.

    Args:
        study: its finished trials.
        study_file: what was asked for; None where it is not in the crate.
        results: all other files of the crate.
    """
    asked = [_file(study_file)] if study_file else []
    found = [_file(file) for file in results]
    software = list(_software(study))
    settings, metrics = list(_settings(study)), list(_metrics(study))
    inputs = [*asked, *_images(study), *settings]
    action = _action(study, software[0], inputs, found)
    entities = [_root(study, [*asked, *found], metrics, action), action, *found, *software, *inputs, *metrics]
    profile = {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    return {"@context": _CONTEXT, "@graph": [_descriptor(), *entities, LICENCE, profile]}


def _descriptor() -> Entity:
    return {"@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": _CRATE}, "about": {"@id": "./"}}


def _root(study: FinishedStudy, files: list[Entity], metrics: list[Entity], action: Entity) -> Entity:
    counts = Counter(trial.status for trial in study.trials)
    trials = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    last = max(trial.finished_at for trial in study.trials)
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Study {study.name}",
        "description": f"Trials of ensemble knowledge distillation, their settings and metrics: {trials}.",
        "datePublished": _time(last),
        "license": _to(LICENCE),
        "conformsTo": {"@id": _PROFILE},
        "hasPart": _to_all(files),
        "mentions": _to(action),
        "variableMeasured": _to_all(metrics),
    }


def _action(study: FinishedStudy, program: Entity, inputs: list[Entity], results: list[Entity]) -> Entity:
    return {
        "@id": "#sweep",
        "@type": "CreateAction",
        "name": f"Sweep of study {study.name}",
        "description": "Teachers and students were trained, a student for each trial, and measured after every epoch.",
        "startTime": _time(min(trial.started_at for trial in study.trials)),
        "endTime": _time(max(trial.finished_at for trial in study.trials)),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": _to(program),
        "object": _to_all(inputs),
        "result": _to_all(results),
    }


def _file(file: CrateFile) -> Entity:
    suffix = PurePosixPath(file.name).suffix.lower()
    told = {
        "@id": quote(file.name),
        "@type": "File",
        "name": file.name,
        "encodingFormat": _FORMATS.get(suffix, _ANY_FORMAT),
        "contentSize": str(file.num_bytes),
        "sha256": file.sha256,
    }
    return told | ({"description": file.about} if file.about else {})


def _software(study: FinishedStudy) -> Iterator[Entity]:
    """Yield kd_sweep, then what it ran on."""
    versions = dict(study.frozen.provenance) if study.frozen else {}
    own = versions.pop("kd_sweep", study.row.get("kd_sweep_version") or __version__)
    revision = versions.pop("git_revision", None)
    packages = [name for name in ("python", *PACKAGES) if name in versions]
    below = [_program(name, versions[name], _PYTHON if name == "python" else f"{_PYPI}/{name}/") for name in packages]
    main = _program("kd_sweep", f"{own}, git revision {revision}" if revision else str(own))
    yield main | {"softwareRequirements": _to_all(below)}
    yield from below


def _program(name: str, version: str, url: str | None = None) -> Entity:
    told = {"@id": url or f"#{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
    return told | ({"url": url} if url else {})


def _images(study: FinishedStudy) -> Iterator[Entity]:
    """Yield the images that were trained on: their name and fingerprint, as they are not in the crate."""
    if study.spec is not None:
        data = study.spec.data
        about = "The images that were trained on. They are not in this crate, and their licence is not known here."
        told = {"@id": "#images", "@type": "CreativeWork", "name": f"Images of {data.name}", "description": about}
        yield told | ({"identifier": data.fingerprint} if data.fingerprint else {})


def _settings(study: FinishedStudy) -> Iterator[Entity]:
    """Yield each searched field with its values, or the range of many numbers."""
    for name in study.setting_names:
        values = sorted({trial.settings[name] for trial in study.trials if name in trial.settings})
        if not values:
            continue
        told: Entity = {"@id": f"#setting-{name}", "@type": "PropertyValue", "name": name}
        if len(values) <= _MOST_VALUES or isinstance(values[0], str):
            yield told | {"value": values if len(values) > 1 else values[0]}
        else:
            yield told | {"minValue": values[0], "maxValue": values[-1]}


def _metrics(study: FinishedStudy) -> Iterator[Entity]:
    """Yield each metric with its meaning and the range of its last values over the trials."""
    meanings = {name: metric.meaning for name, metric in REPORTED_METRICS.items()}
    for name in study.metric_names:
        values = [trial.metrics[name] for trial in study.trials if name in trial.metrics]
        if values:
            told = {"@id": f"#metric-{name}", "@type": "PropertyValue", "name": name}
            told |= {"description": meanings[name]} if name in meanings else {}
            yield told | {"minValue": min(values), "maxValue": max(values)}


def _to(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _to_all(entities: list[Entity]) -> Entity | list[Entity]:
    """Return links; of one alone no list, as RO-Crate asks for."""
    links = [_to(entity) for entity in entities]
    return links[0] if len(links) == 1 else links


def _time(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")
