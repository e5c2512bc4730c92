"""The file of `--sign-in`: what it gives to whom, and every mistake in it on one line."""

from pathlib import Path

import pytest

from kd_sweep.errors import UserError
from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.sign_in_file import load_sign_in
from tests.command_line import Cli, assert_one_line
from tests.project.pages import ROOT

RECIPE = ROOT / "cluster/service/sign-in.yaml"
SECRET = "0123456789abcdef" * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The recipe's file, with a secret beside it."""
    secret = tmp_path / "proxy-secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    (tmp_path / "sign-in.yaml").write_text(RECIPE.read_text())
    return tmp_path / "sign-in.yaml"


@pytest.mark.parametrize(
    ("user", "groups", "role"),
    [
        ("anna@example.org", (), Role.ADMIN),
        ("anna@example.org", ("sweeps",), Role.ADMIN),
        ("bob@example.org", ("other", "sweeps"), Role.OPERATOR),
        ("Anna@example.org", (), Role.VIEWER),
        ("sweeps", ("anna@example.org",), Role.VIEWER),
        ("everybody", ("admin",), Role.VIEWER),
    ],
)
def test_the_highest_role_counts(file: Path, user: str, groups: tuple[str, ...], role: Role) -> None:
    assert load_sign_in(file).role_of(user, groups) == role


def test_who_is_given_nothing_has_no_role(file: Path) -> None:
    file.write_text(file.read_text().replace("  viewer: {everybody: true}\n", ""))
    sign_in = load_sign_in(file)
    assert sign_in.role_of("bob@example.org", ()) is None
    assert sign_in.identity("bob@example.org", ()) is None
    assert SECRET not in repr(sign_in)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("user_header:", "user_heade:", "proxy.user_heade: unknown key, did you mean 'user_header'?"),
        ("  user_header: X-Forwarded-Email\n", "", "proxy.user_header: is missing"),
        ("X-Forwarded-Email", "X_Forwarded_Email", "proxy.user_header: 'X_Forwarded_Email' is not a header for this"),
        ("X-Forwarded-Email", "Authorization", "proxy.user_header: 'Authorization' is not a header for this"),
        ("X-Forwarded-Email", "X-FORWARDED-GROUPS", "proxy.groups_header: is the header of the user, too"),
        ("  groups_header: X-Forwarded-Groups\n", "", "roles.operator.groups: needs proxy.groups_header"),
        ("/oauth2/sign_out", "javascript:alert(1)", "proxy.sign_out: 'javascript:alert(1)' is not a path or URL"),
        ("/oauth2/sign_out", "//evil.example/", "proxy.sign_out: '//evil.example/' is not a path or URL"),
        ("  operator:", "  operatr:", "roles.operatr: unknown key, did you mean 'operator'?"),
        ("[anna@example.org]", "anna@example.org", "roles.admin.users: 'anna@example.org' is not a list"),
        ("{everybody: true}", "{everybody: 1}", "roles.viewer.everybody: 1 is not true or false"),
        ("proxy-secret ", "no-secret ", "/no-secret cannot be read: No such file"),
        ("proxy:", "prox: y:", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(file: Path, old: str, new: str, message: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_sign_in(file)
    said = str(error.value)
    assert len(said.splitlines()) == 1
    assert message in said
    assert str(file.parent) in said


def test_a_secret_that_others_read_or_guess_is_refused(file: Path, cli: Cli, tmp_path: Path) -> None:
    secret = file.parent / "proxy-secret"
    arguments = ("serve", tmp_path / "root", "--state", tmp_path / "state", "--sign-in", file)
    secret.chmod(0o644)
    assert_one_line(cli(*arguments), "proxy-secret can be read by everybody on this machine; chmod 600 ")
    secret.chmod(0o640)
    secret.write_text("short")
    assert_one_line(
        cli(*arguments), "does not hold 32 to 200 characters without spaces; possible: openssl rand -hex 32"
    )
    file.write_text("roles: {}\n")
    assert_one_line(cli(*arguments), "proxy: is missing")
    file.write_text("")
    assert_one_line(cli(*arguments), "null (nothing) instead of the keys proxy and roles")
    assert_one_line(cli(*arguments[:-1], tmp_path / "none"), f"--sign-in: {tmp_path}/none cannot be read: No such file")
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "state").exists()
