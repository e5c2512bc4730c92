"""Secrets stay out of whatever is shown or kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from kd_sweep.driver.ray import jobs
from kd_sweep.driver.tune.failures import Failure
from kd_sweep.errors import KdSweepError, StorageError
from kd_sweep.redaction import redacted
from kd_sweep.storage.root import Root
from tests.command_line import environment

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = "AKIAIOSFODNN7EXAMPLE"
TEXTS = [
    f"s3://{KEY}:{SECRET}@bucket/prefix",
    f"cannot open s3://user:{SECRET}@bucket",
    f"https://{SECRET.replace('/', '')}@example.org/x",
    f"s3://bucket/prefix?secret={SECRET}&region=x",
    f"https://example.org/file?X-Amz-Signature={SECRET}&x=1",
    f"https://example.org/file?key={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET} kd-sweep",
    f"S3FileSystem(access_key='a', secret_key='{SECRET}')",
    f"{{'secret_key': '{SECRET}', 'region': 'x'}}",
    f'{{"sessionToken": "{SECRET}"}}',
    f"Authorization: Bearer {SECRET}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_is_not_shown(text: str) -> None:
    shown = redacted(text, {})
    assert SECRET not in shown
    assert SECRET.replace("/", "") not in shown
    assert KEY not in shown
    assert "***" in shown


@pytest.mark.parametrize("token", [KEY, "hf_" + "aB3" * 8, "ghp_" + "aB3" * 8, "kds_" + "aB-3_" * 8])
def test_keys_are_known_by_their_form(token: str) -> None:
    assert redacted(f"request by {token} failed", {}) == "request by *** failed"


def test_what_the_environment_keeps_secret_is_not_shown() -> None:
    kept = {"AWS_SECRET_ACCESS_KEY": SECRET, "RAY_AUTH_TOKEN_PATH": "/home/me/token", "MY_TOKEN": "short"}
    text = f"signed with {SECRET}, read from /home/me/token by a short request"
    assert redacted(text, kept) == "signed with ***, read from /home/me/token by a short request"


@pytest.mark.parametrize(
    "text",
    [
        "search.ensemble_size: 0 is not at least 1 (sweeps/cifar100.yaml, line 14)",
        "s3://bucket/prefix cannot be opened",
        "needs the form KEY=VALUE, such as --set teacher.epochs=4",
        "tokens are the default; see https://example.org/a/b",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redacted(text, {}) == text


def test_every_error_and_every_trials_row_goes_through_it() -> None:
    assert SECRET not in str(KdSweepError(TEXTS[0]))
    failure = Failure("failed", f"OSError: {TEXTS[0]}", f"Traceback\n{TEXTS[7]}")
    assert SECRET not in failure.error + failure.traceback


@pytest.mark.parametrize("location", [TEXTS[0], f"s3://{KEY}@bucket", TEXTS[3]])
def test_a_root_with_a_key_in_it_is_refused_without_it(location: str) -> None:
    with pytest.raises(StorageError, match=r"AWS_[A-Z_]+") as caught:
        Root.open(location)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_job_is_not_submitted_with_a_key_in_its_root(tiny: Path) -> None:
    """Ray keeps a job's command, and shows it to everybody who sees the dashboard."""
    with pytest.raises(StorageError, match="has a key in it"):
        jobs.submit(tiny, "http://127.0.0.1:1", TEXTS[0], ())


def test_a_traceback_of_the_command_line_has_no_secrets() -> None:
    program = (
        "import sys, kd_sweep.study.file.json_schema as schema, kd_sweep.cli\n"
        f"def broken(): raise RuntimeError('s3://user:{SECRET}@bucket')\n"
        "schema.json_schema = broken\n"
        "kd_sweep.cli.main(['schema'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "s3://***@bucket" in done.stderr
    assert SECRET not in done.stderr
