"""Exports as RO-Crates: their files, their description, and what the validator says of it."""

import hashlib
import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import kd_sweep
from kd_sweep.errors import StorageError
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from tests.export.written_study import FINISHED, STUDY, last_value
from tests.tables.rows import trial_id
from tests.trained_studies import train_study

VALIDATOR = "KD_SWEEP_ROC_VALIDATOR"
"""The variable with the Python of an environment that has `roc-validator` and `rocrate`."""
PROFILES = ("ro-crate-1.1", "process-run-crate-0.5")
UNKNOWN = {"author", "publisher", "agent", "url"}
"""What RO-Crate recommends to say, and a study does not know: of people, and where kd_sweep is to be had."""
ADDRESS = "SoftwareApplication id SHOULD be an absolute URI"
"""The same of kd_sweep, which is in no registry."""
DIGITS = """
name: digits
data: {name: digits, image_size: 8, max_train_images: 40, max_val_images: 40}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {model: resnet8, width: 4, epochs: 1}
search:
  augmentation_strength: {grid: [0.0, 0.5]}
"""


@pytest.fixture(scope="module")
def crate(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crate of the study `written`. Read it only."""
    out = tmp_path_factory.mktemp("crate") / "crate"
    assert kd_sweep.open_results(written)[STUDY].export("ro-crate", out).changed
    return out


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in graph}


def linked(links: Any) -> set[str]:
    return {link["@id"] for link in (links if isinstance(links, list) else [links])}


def test_files_are_described_with_their_digests(crate: Path) -> None:
    described = entities(crate)
    files = {name for name, entity in described.items() if entity["@type"] == "File"}
    assert files == {"studies.parquet", "trials.parquet", "epochs.parquet", "teachers.parquet"}
    assert linked(described["./"]["hasPart"]) == files
    for name in files:
        content = (crate / name).read_bytes()
        assert described[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert int(described[name]["contentSize"]) == len(content)
    every = json.dumps(list(described.values()))
    assert all(one in described for entity in described.values() for key, one in _links(entity)), every


def _links(entity: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the links of an entity to others of the crate."""
    of_others = {key: value for key, value in entity.items() if key not in ("@id", "conformsTo")}
    found = [(key, value) for key, value in of_others.items() if isinstance(value, dict | list)]
    return [
        (key, link["@id"])
        for key, value in found
        for link in (value if isinstance(value, list) else [value])
        if isinstance(link, dict)
    ]


def test_tables_have_what_is_finished_and_nothing_else(crate: Path) -> None:
    trials, epochs = pl.read_parquet(crate / "trials.parquet"), pl.read_parquet(crate / "epochs.parquet")
    assert set(trials["trial_id"]) == {trial_id(number) for number in FINISHED}
    assert epochs.height == sum(last for _, last in FINISHED.values())


def test_the_action_links_software_settings_and_results_and_metrics_are_values(crate: Path) -> None:
    described = entities(crate)
    action = described[linked(described["./"]["mentions"]).pop()]
    assert action["@type"] == "CreateAction"
    assert described[action["instrument"]["@id"]]["name"] == "kd_sweep"
    assert linked(action["result"]) == linked(described["./"]["hasPart"])
    assert described["#setting-seed"]["value"] == sorted({number % 5 for number in FINISHED})
    assert "#setting-seed" in linked(action["object"])
    accuracy = described["#metric-val_accuracy"]
    values = [last_value(number, "val_accuracy") for number in FINISHED]
    assert (accuracy["@type"], accuracy["minValue"], accuracy["maxValue"]) == (
        "PropertyValue",
        min(values),
        max(values),
    )
    assert accuracy["description"] == REPORTED_METRICS["val_accuracy"].meaning
    assert described[described["./"]["license"]["@id"]]["name"] == "unknown"
    assert "author" not in described["./"]


def test_figures_in_the_folder_are_described_when_it_is_done_again(written: Path, tmp_path: Path) -> None:
    study = kd_sweep.open_results(written)[STUDY]
    study.export("ro-crate", tmp_path / "crate")
    figure = tmp_path / "crate" / "figures" / "dose response.svg"
    figure.parent.mkdir()
    figure.write_text("<svg/>")
    assert study.export("ro-crate", tmp_path / "crate").changed
    described = entities(tmp_path / "crate")["figures/dose%20response.svg"]
    assert described["encodingFormat"] == "image/svg+xml"
    assert described["sha256"] == hashlib.sha256(b"<svg/>").hexdigest()
    assert not study.export("ro-crate", tmp_path / "crate").changed
    assert figure.read_text() == "<svg/>"


def test_authors_and_a_licence_that_were_added_stay_when_it_is_done_again(written: Path, tmp_path: Path) -> None:
    study, crate = kd_sweep.open_results(written)[STUDY], tmp_path / "crate"
    study.export("ro-crate", crate)
    file = crate / "ro-crate-metadata.json"
    before = json.loads(file.read_text())
    described = {entity["@id"]: entity for entity in before["@graph"]}
    ada, lab = {"@id": "https://orcid.org/0000-0001"}, {"@id": "#lab"}
    described["./"] |= {"author": [ada], "license": {"@id": "https://spdx.org/licenses/CC-BY-4.0"}}
    described["#sweep"]["agent"] = ada
    described["./"]["name"] = "Another name"
    before["@graph"] += [
        {**ada, "@type": "Person", "name": "Ada", "affiliation": lab},
        {**lab, "@type": "Organization", "name": "A laboratory"},
        {"@id": "https://spdx.org/licenses/CC-BY-4.0", "@type": "CreativeWork", "name": "CC BY 4.0"},
        {"@id": "#nobody", "@type": "Person", "name": "to whom nothing leads"},
    ]
    file.write_text(json.dumps(before))
    (crate / "trials.parquet").write_bytes(b"damaged")
    assert study.export("ro-crate", crate).changed
    found = entities(crate)
    assert found["./"]["author"] == [ada]
    assert found["#sweep"]["agent"] == ada
    assert found["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert (found[ada["@id"]]["name"], found["#lab"]["name"]) == ("Ada", "A laboratory")
    assert "#nobody" not in found
    assert found["./"]["name"] == f"Study {STUDY}"
    assert not study.export("ro-crate", crate).changed
    # Cut off between the tables and their description.
    file.rename(crate / "ro-crate-metadata.json.before")
    assert study.export("ro-crate", crate).changed
    assert entities(crate) == found
    assert sorted(path.name for path in crate.glob("*.before")) == []


def test_a_description_that_somebody_broke_is_one_line(written: Path, tmp_path: Path) -> None:
    study = kd_sweep.open_results(written)[STUDY]
    study.export("ro-crate", tmp_path / "crate")
    for content in ('{"@graph": ', "[]", '{"@graph": [1]}'):
        (tmp_path / "crate/ro-crate-metadata.json").write_text(content)
        with pytest.raises(StorageError, match="is no JSON with a @graph of entities") as error:
            study.export("ro-crate", tmp_path / "crate")
        assert len(str(error.value).splitlines()) == 1
        assert (tmp_path / "crate/ro-crate-metadata.json").read_text() == content


VALIDATE = """
import io, pathlib, sys
import requests, rocrate, urllib3
from rocrate_validator import models, services

CONTEXT = "https://w3id.org/ro/crate/"

class Bundled(requests.adapters.HTTPAdapter):
    def send(self, request, **options):
        content = (pathlib.Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
        headers = {"Content-Type": "application/ld+json"}
        raw = urllib3.HTTPResponse(io.BytesIO(content), headers, 200, preload_content=False)
        return self.build_response(request, raw)

adapter_of = requests.Session.get_adapter
requests.Session.get_adapter = lambda session, url: Bundled() if url.startswith(CONTEXT) else adapter_of(session, url)
crate, profile = sys.argv[1:]
settings = services.ValidationSettings(
    rocrate_uri=crate, profile_identifier=profile, requirement_severity=models.Severity.RECOMMENDED
)
for issue in services.validate(settings).get_issues():
    print(issue.severity.name, (issue.violatingProperty or "").rpartition("/")[2], issue.message, sep="|")
print("validated", profile)
"""
"""The terms of RO-Crate come from `rocrate`, so no network is needed: a later version's, with all of 1.1's."""


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the validator. It is not ours: it wants an old `rich`."""
    if VALIDATOR in os.environ:
        return os.environ[VALIDATOR]
    folder = tmp_path_factory.mktemp("validator")
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "roc-validator>=0.13,<1", "rocrate>=0.16,<1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"roc-validator cannot be installed here, and {VALIDATOR} names no Python that has it")
    return python


@pytest.mark.long
def test_the_validator_asks_for_nothing_that_a_study_knows(validator: str, tmp_path: Path) -> None:
    train_study(tmp_path / "root", DIGITS)
    kd_sweep.open_results(tmp_path / "root")["digits"].export("ro-crate", tmp_path / "crate")
    assert "study.yaml" in entities(tmp_path / "crate")
    for profile in PROFILES:
        command = [validator, "-c", VALIDATE, str(tmp_path / "crate"), profile]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.stdout.endswith(f"validated {profile}\n"), done.stderr
        issues = [line.split("|") for line in done.stdout.splitlines()[:-1]]
        assert all(severity == "RECOMMENDED" for severity, _, _ in issues), issues
        assert [one for one in issues if one[1] not in UNKNOWN and ADDRESS not in one[2]] == []
