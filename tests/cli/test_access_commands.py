"""`kd-sweep token` and `kd-sweep webhook`: beside a service that runs, and without one."""

import json
from pathlib import Path
from typing import Any

import pytest

import kd_sweep
from kd_sweep.errors import RemoteError
from kd_sweep.service.access.audit import recorded
from kd_sweep.service.rows.database import Database
from tests.command_line import Cli, assert_one_line
from tests.service.running_service import running
from tests.tables.rows import write_study


def test_a_token_works_until_it_is_revoked(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "root")
    state = tmp_path / "state"
    where = ("--state", state, "--database", f"sqlite:///{state}/service.db")
    state.mkdir()
    monkeypatch.delenv("KD_SWEEP_TOKEN", raising=False)
    with running(tmp_path / "root", state) as service:
        made = cli("token", "create", tmp_path / "root", "laptop", "--role", "operator", "--days", 2, *where)
        code, secret, err = made
        assert (code, err) == (0, "token 'laptop' with the role operator; it is shown once:\n")
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


@pytest.fixture
def served(tmp_path: Path) -> tuple[Any, ...]:
    """The root and the options of a service that was started once."""
    write_study(tmp_path / "root")
    state = tmp_path / "state"
    state.mkdir()
    Database(f"sqlite:///{state}/service.sqlite").close()
    return (tmp_path / "root", "--state", state)


def test_a_webhook_is_made_listed_and_removed(served: tuple[Any, ...], cli: Cli, tmp_path: Path) -> None:
    root, *where = served
    code, secret, err = cli("webhook", "create", root, "https://example.org/a", "--event", "failed", *where)
    assert (code, err) == (0, "webhook 1 is told of failed; its secret is shown once:\n")
    code, _, err = cli("webhook", "create", root, "http://127.0.0.1:8401/", *where)
    assert code == 0
    assert err.startswith(
        "http://127.0.0.1:8401/ is private: it is told by a service that was started with --allow-priv"
    )
    code, out, _ = cli("webhook", "list", root, *where, "--format", "json")
    listed = json.loads(out)
    assert [(row["id"], row["url"], row["events"]) for row in listed] == [
        (1, "https://example.org/a", "failed"),
        (2, "http://127.0.0.1:8401/", "finished finished_with_failures budget_used failed"),
    ]
    assert [(row["num_waiting"], row["last_delivered_at"], row["last_error"]) for row in listed] == [
        (0, None, None)
    ] * 2
    assert secret.strip() not in out
    assert cli("webhook", "remove", root, "1", *where)[0] == 0
    assert [row["id"] for row in json.loads(cli("webhook", "list", root, *where, "--format", "json")[1])] == [2]
    assert_one_line(cli("webhook", "remove", root, "1", *where), "webhook: '1' is not the id of one; possible: 2")
    database = Database(f"sqlite:///{tmp_path}/state/service.sqlite")
    with database.reading() as session:
        assert {row.action for row in recorded(session, None, None, 9)} == {"webhook.create", "webhook.remove"}
    database.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("token", "creat", "x"), "token: 'creat' is not an action; did you mean 'create'?"),
        (("token", "create"), "token create: needs a NAME"),
        (("token", "list", "x"), "token list: takes no NAME"),
        (("token", "list", "--role", "admin"), "--role: is for token create alone"),
        (("token", "revoke", "x", "--days", "3"), "--days: is for token create alone"),
        (("token", "create", "x", "--role", "root"), "--role: 'root' is not a role"),
        (("token", "create", "x", "--days", "0"), "--days: 0 is not above 0"),
        (("token", "create", "x", "--days", "-1"), "--days: -1 is not above 0"),
        (("token", "create", "x", "--days", "nan"), "--days: nan is not above 0"),
        (("token", "create", "a/b"), "name: 'a/b' is not 1 to 100 printable characters"),
        (("token", "create", ".."), "name: '..' is not 1 to 100 printable characters"),
        (("token", "revoke", "x"), "token: 'x' is none; none are possible"),
        (("webhook", "create"), "webhook create: needs a URL"),
        (("webhook", "remove"), "webhook remove: needs an id"),
        (("webhook", "create", "ftp://x/"), "url: 'ftp://x/' is no URL of a webhook"),
        (
            ("webhook", "create", "https://x.org/", "--event", "fail"),
            "events: 'fail' is not an event; did you mean 'failed'",
        ),
        (("webhook", "create", "https://x.org/", "--study", "x"), "study: 'x' is not a study of this service"),
        (("webhook", "list", "--event", "failed"), "--event: is for webhook create alone"),
        (("webhook", "remove", "x"), "webhook: 'x' is not the id of one; none are possible"),
    ],
)
def test_mistakes_are_one_line(served: tuple[Any, ...], cli: Cli, words: tuple[str, ...], message: str) -> None:
    root, *where = served
    command, action, *rest = words
    assert_one_line(cli(command, action, root, *rest, *where), message)


def test_a_name_is_taken_once(served: tuple[Any, ...], cli: Cli) -> None:
    root, *where = served
    assert cli("token", "create", root, "x", *where)[0] == 0
    assert cli("token", "revoke", root, "x", *where)[0] == 0
    assert_one_line(cli("token", "create", root, "x", *where), "name: there is a token 'x' already")


@pytest.mark.parametrize("command", [("token", "create", "x"), ("token", "list"), ("webhook", "list")], ids=" ".join)
def test_without_a_service_nothing_is_made(tmp_path: Path, cli: Cli, command: tuple[str, ...]) -> None:
    name, action, *rest = command
    where = ("--state", tmp_path / "state")
    assert_one_line(
        cli(name, action, tmp_path / "root", *rest, *where), "has no rows of a service; kd-sweep serve makes"
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "state").mkdir()
    (tmp_path / "state/service.sqlite").write_text("no database, but a file that lies there, and is long enough")
    assert_one_line(cli(name, action, tmp_path / "root", *rest, *where), ".sqlite failed: file is not a database")
    database = f"sqlite:///{tmp_path}/other.sqlite"
    (tmp_path / "other.sqlite").touch()
    assert_one_line(cli(name, action, tmp_path / "root", *rest, "--database", database), "has no rows of a service")
    assert_one_line(cli(name, action, tmp_path / "root", *rest, "--database", "mysql://x/y"), "--database: ")
