"""Files of a study as they lie in its folder, and no others; plans and images from processes of their own."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from safetensors import safe_open

from kd_sweep.service.access.roles import Role
from tests.command_line import Cli
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY


@pytest.fixture(scope="module")
def root(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained root, with a link in the study's folder that leads out of it."""
    root = tmp_path_factory.mktemp("linked") / "root"
    shutil.copytree(trained_root, root)
    (root / "tiny" / "outside").symlink_to("/etc")
    return root


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(root, tmp_path_factory.mktemp("state")) as started:
        yield started


def test_every_listed_file_is_that_of_the_folder(admin: httpx.Client, root: Path) -> None:
    listed = {file["path"]: file["bytes"] for file in admin.get("/api/v1/studies/tiny/files").json()["files"]}
    tables = {path for path in listed if path.endswith(".parquet")}
    assert {path.partition("/")[0] for path in tables} >= {"trials", "epochs", "study"}
    for path in [*tables, "study.yaml"]:
        content = admin.get(f"/api/v1/studies/tiny/files/{path}").raise_for_status().content
        assert content == (root / "tiny" / path).read_bytes()
        assert len(content) == listed[path]


def test_the_student_of_a_trial_can_be_read_elsewhere(admin: httpx.Client, root: Path, tmp_path: Path) -> None:
    trial_id = sorted(file.name for file in (root / "tiny" / "checkpoints").iterdir())[0]
    listed = admin.get(f"/api/v1/studies/tiny/trials/{trial_id[:8]}/files").json()["files"]
    last = next(file for file in listed if file["epoch"] == "last")
    content = admin.get(f"/api/v1/studies/tiny/files/{last['path']}").raise_for_status().content
    (tmp_path / "student.safetensors").write_bytes(content)
    assert len(content) == last["bytes"]
    with safe_open(tmp_path / "student.safetensors", "pt") as tensors:
        assert any(name.startswith("model/") for name in tensors.keys())  # noqa: SIM118 - it is no dictionary


@pytest.mark.parametrize(
    "path",
    [
        "../../secret",
        "..%2f..%2fsecret",
        "%2fetc/passwd",
        "outside/passwd",
        "trials",
        "no",
        ".hidden",
        "a%00b",
        "x\\y",
    ],
)
def test_no_other_file_is_given_away(service: RunningService, path: str) -> None:
    url = httpx.URL(service.url).copy_with(raw_path=f"/api/v1/studies/tiny/files/{path}".encode())
    with service.client(Role.ADMIN) as client:
        answer = client.get(url)
    assert answer.status_code == 404, answer.content
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_plan_is_that_of_the_command_line(admin: httpx.Client, root: Path, tmp_path: Path, cli: Cli) -> None:
    text = TINY.replace("{grid: [1, 2]}", "{grid: [1, 2, 3]}")
    (tmp_path / "tiny.yaml").write_text(text)
    _, out, _ = cli("plan", tmp_path / "tiny.yaml", "--root", root, "--no-probe", "--slots", 2)
    plan = admin.post("/api/v1/plan", json={"yaml": text, "slots": 2})
    assert plan.status_code == 200, plan.text
    assert plan.json()["lines"] == out.splitlines()
    assert (plan.json()["whole"]["num_trials"], plan.json()["rest"]["num_trials"]) == (6, 2)
    wrong = admin.post("/api/v1/plan", json={"yaml": TINY.replace("model: resnet8", "model: resnet9")})
    (tmp_path / "study").write_text(TINY.replace("model: resnet8", "model: resnet9"))
    _, _, err = cli("plan", tmp_path / "study", "--root", root, "--no-probe")
    assert wrong.status_code == 422
    assert err.replace(f"{tmp_path}/", "") == f"kd-sweep: {wrong.json()['detail']}\n"


def test_attention_and_augmentations_are_images_that_are_drawn_once(admin: httpx.Client, root: Path) -> None:
    trial_id = sorted(file.name for file in (root / "tiny" / "checkpoints").iterdir())[0]
    for path in (f"trials/{trial_id}/attention.png", "augmentations.png"):
        drawn = admin.get(f"/api/v1/studies/tiny/{path}?images=2", timeout=120)
        assert drawn.status_code == 200, drawn.text
        assert drawn.headers["content-type"] == "image/png"
        assert min(Image.open(io.BytesIO(drawn.content)).size) > 50
        again = admin.get(f"/api/v1/studies/tiny/{path}?images=2", timeout=2)
        assert again.content == drawn.content
        known = admin.get(f"/api/v1/studies/tiny/{path}?images=2", headers={"If-None-Match": drawn.headers["etag"]})
        assert known.status_code == 304
    missing = admin.get("/api/v1/studies/tiny/trials/ffff/attention.png")
    assert missing.status_code == 404
    assert admin.get("/api/v1/studies/tiny/augmentations.png?images=0").status_code == 422
