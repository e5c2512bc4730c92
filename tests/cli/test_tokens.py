"""`kd-sweep token`: made, listed and revoked beside a service that runs, and without one."""

import json
import stat
from pathlib import Path

import pytest

import kd_sweep
from kd_sweep.errors import RemoteError
from tests.command_line import Cli, assert_one_line
from tests.service.running_service import running
from tests.tables.rows import write_study


def test_a_token_works_until_it_is_revoked(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "root")
    state = tmp_path / "state"
    where = ("--state", state, "--database", f"sqlite:///{state}/service.db")
    code, secret, err = cli("token", "create", tmp_path / "root", "laptop", "--role", "operator", "--days", 2, *where)
    assert (code, err) == (0, "token 'laptop' of a operator; it is shown once:\n")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    monkeypatch.delenv("KD_SWEEP_TOKEN", raising=False)
    with running(tmp_path / "root", state) as service:
        assert kd_sweep.connect(service.url, secret.strip()).whoami() == {"name": "laptop", "role": "operator"}
        code, out, _ = cli("token", "list", tmp_path / "root", *where, "--format", "json")
        listed = {row["name"]: row for row in json.loads(out)}
        assert listed["laptop"]["role"] == "operator"
        assert listed["laptop"]["expires_at"] > listed["laptop"]["created_at"]
        assert listed["laptop"]["last_used_at"] is not None
        assert secret.strip() not in out
        assert cli("token", "revoke", tmp_path / "root", "laptop", *where)[0] == 0
        with pytest.raises(RemoteError, match="token: is not known, expired or revoked"):
            kd_sweep.connect(service.url, secret.strip())
        with service.client() as admin:
            recorded = admin.get("/api/v1/audit").json()["changes"]
    assert [(row["action"], row["detail"]["name"]) for row in recorded] == [
        ("token.revoke", "laptop"),
        ("token.create", "laptop"),
    ]


def test_mistakes_are_one_line(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_study(tmp_path / "root")
    assert_one_line(
        cli("token", "creat", tmp_path / "root", "x"), "token: 'creat' is not an action; did you mean 'create'?"
    )
    assert_one_line(cli("token", "create", tmp_path / "root"), "token create: needs a NAME")
    assert_one_line(cli("token", "list", tmp_path / "root", "x"), "token list: takes no NAME")
    assert_one_line(cli("token", "create", tmp_path / "root", "x", "--role", "root"), "--role: 'root' is not a role")
    assert_one_line(cli("token", "create", tmp_path / "root", "x", "--days", "-1"), "--days: -1 is not above 0")
    assert_one_line(cli("token", "revoke", tmp_path / "root", "x"), "token: 'x' is none; none are possible")
    assert cli("token", "create", tmp_path / "root", "x")[0] == 0
    assert_one_line(cli("token", "create", tmp_path / "root", "x"), "name: there is a token 'x' already")
