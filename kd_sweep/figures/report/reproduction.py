"""How a study is run again: its file, the commands, the versions and digests that its results depend on."""

import hashlib
import shlex
from dataclasses import dataclass

from kd_sweep.figures.report.shown_tables import facts
from kd_sweep.study.file.frozen import FrozenStudy
from kd_sweep.study.file.yaml_writer import yaml_text
from kd_sweep.tables.reader import Results


@dataclass(frozen=True)
class Reproduction:
    """What a reader needs to run the study again."""

    commands: str
    """Lines for a shell."""
    study_file: str
    """YAML with every default written out; empty where the tables have none that can be read."""
    versions: list[tuple[str, str]]
    digests: list[tuple[str, str]]


def reproduction(results: Results, study: str, frozen: FrozenStudy | None, digest: str) -> Reproduction:
    """Return how the one study in ``results`` is run again.

    Args:
        results: its tables.
        study: its name.
        frozen: its study file, if the tables have one that can be read.
        digest: of its tables.
    """
    ((_, folder),) = results.select().items()
    root = shlex.quote(folder.parent()[0].location.rstrip("/").rpartition("/")[2] or "results")
    file = f"{study}.yaml"
    commands = [
        *([] if frozen is None else [f"kd-sweep launch {file} --root {root}"]),
        f"kd-sweep analyse {root} {study}",
        f"kd-sweep plot {root} {study} --size two-columns --out figures/{study}",
        f"kd-sweep report {root} {study} --out {study}.html",
    ]
    if frozen is None:
        return Reproduction("\n".join(commands), "", [], [("Tables, SHA-256", digest)])
    spec = frozen.spec
    text = yaml_text(spec.model_dump(mode="json"))
    learners = {"teacher": spec.teacher, "student": spec.student}
    return Reproduction(
        "\n".join(commands),
        text,
        facts(frozen.provenance.items()),
        facts(
            [
                ("Tables, SHA-256", digest),
                ("Study file above, SHA-256", hashlib.sha256(text.encode()).hexdigest()),
                ("Images", spec.data.fingerprint),
                *((f"Initial weights of the {name}", one.weights_digest) for name, one in learners.items()),
                ("Plug-ins", spec.plugins_digest),
            ]
        ),
    )
