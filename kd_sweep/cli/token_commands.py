"""The command for tokens of a service: made, listed and revoked in its rows, whether it runs or not."""

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kd_sweep.cli.arguments import MORE, Format, ResultsRoot
from kd_sweep.cli.screen import print_message, print_secret, print_table
from kd_sweep.errors import UserError, alternatives

if TYPE_CHECKING:
    from kd_sweep.service.rows.database import Database

ACTIONS = ("create", "list", "revoke")
_DAY_S = 86_400.0
_REQUEST = "command line"
"""In the record of changes, instead of the id of a request."""


def token(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{', '.join(ACTIONS)}.")],
    root: ResultsRoot,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By which its holder is known.")] = None,
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")] = "viewer",
    days: Annotated[float | None, typer.Option(help="It is void after so many. Default: never.")] = None,
    state: Annotated[Path | None, typer.Option("--state", help="The service's own folder, as of serve.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="The URL of its rows, as of serve.")] = None,
    output: Format = "table",
) -> None:
    """Make, list or revoke the tokens of a service. A new one is printed once, and kept nowhere."""
    if action not in ACTIONS:
        raise UserError(f"token: {action!r} is not an action; {alternatives(action, ACTIONS)}")
    if (name is None) != (action == "list"):
        raise UserError(f"token {action}: {'needs a NAME' if name is None else 'takes no NAME'}")
    rows = _database(root, state, database)
    try:
        if name is None:
            _print_tokens(rows, output)
        elif action == "create":
            _create(rows, name, role, days)
        else:
            _revoke(rows, name)
    finally:
        rows.close()


def _database(root: str, state: Path | None, database: str | None) -> "Database":
    try:
        from kd_sweep.service.rows.database import Database
        from kd_sweep.service.service_settings import service_settings
    except ModuleNotFoundError as error:
        raise UserError(
            f"token: needs {error.name}, which is not installed; in the checkout: pip install '.[service]'"
        ) from None
    return Database(service_settings(root, state=state, database=database).database)


def _create(rows: "Database", name: str, role: str, days: float | None) -> None:
    from kd_sweep.service.access.audit import record
    from kd_sweep.service.access.roles import Identity, Role
    from kd_sweep.service.access.tokens import create_token

    if role not in list(Role):
        raise UserError(f"--role: {role!r} is not a role; {alternatives(role, list(Role))}")
    if days is not None and not 0 < days < 36_500:
        raise UserError(f"--days: {days:g} is not above 0 and below 36500")
    now = time.time()
    with rows.changing() as session:
        made, secret = create_token(session, name, Role(role), now, None if days is None else days * _DAY_S)
        who = Identity(getpass.getuser(), Role.ADMIN, made.id)
        record(session, who, "token.create", _REQUEST, now, None, name=name, token_role=role)
    print_message(f"token {name!r} of a {role}; it is shown once:")
    print_secret(secret)


def _revoke(rows: "Database", name: str) -> None:
    from kd_sweep.service.access.audit import record
    from kd_sweep.service.access.roles import Identity, Role
    from kd_sweep.service.access.tokens import revoke_token

    now = time.time()
    with rows.changing() as session:
        revoked = revoke_token(session, name, now)
        record(
            session, Identity(getpass.getuser(), Role.ADMIN, revoked.id), "token.revoke", _REQUEST, now, None, name=name
        )
    print_message(f"token {name!r} is void")


def _print_tokens(rows: "Database", output: str) -> None:
    import pyarrow as pa

    from kd_sweep.service.access.tokens import all_tokens

    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    with rows.reading() as session:
        tokens = [{name: getattr(row, name) for name in ("name", "role", *times)} for row in all_tokens(session)]
    moment = pa.timestamp("s", tz="UTC")
    schema = pa.schema([("name", pa.string()), ("role", pa.string()), *((name, moment) for name in times)])
    whole = [row | {name: None if row[name] is None else int(row[name]) for name in times} for row in tokens]
    print_table(pa.Table.from_pylist(whole, schema), output, more=MORE)
