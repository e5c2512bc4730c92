"""The commands for tokens and webhooks of a service: made, listed and ended in its rows, whether it runs or not."""

import getpass
import os
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kd_sweep.cli.arguments import MORE, Format, ResultsRoot
from kd_sweep.cli.screen import print_message, print_secret, print_table
from kd_sweep.errors import UserError, alternatives

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from kd_sweep.service.rows.database import Database
    from kd_sweep.service.rows.models import Webhook

TOKEN_ACTIONS = ("create", "list", "revoke")
WEBHOOK_ACTIONS = ("create", "list", "remove")
_DAY_S = 86_400.0
_REQUEST = "command line"
"""In the record of changes, instead of the id of a request."""
State = Annotated[Path | None, typer.Option("--state", help="The service's own folder, as of serve.")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="The URL of its rows, as of serve.")]


def token(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{', '.join(TOKEN_ACTIONS)}.")],
    root: ResultsRoot,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By which its holder is known.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="viewer, operator or admin. Default: viewer.")] = None,
    days: Annotated[float | None, typer.Option(help="It is void after so many. Default: never.")] = None,
    state: State = None,
    database: DatabaseUrl = None,
    output: Format = "table",
) -> None:
    """Make, list or revoke the tokens of a service. A new one is printed once, and kept nowhere."""
    _check_action("token", action, TOKEN_ACTIONS, "NAME", name, {"--role": role, "--days": days})
    with closing(_rows("token", root, state, database)) as rows:
        if name is None:
            _print_tokens(rows, output)
        elif action == "create":
            _create_token(rows, name, role or "viewer", days)
        else:
            _revoke_token(rows, name)


def webhook(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{', '.join(WEBHOOK_ACTIONS)}.")],
    root: ResultsRoot,
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Where to; to remove one, its id.")] = None,
    events: Annotated[
        list[str] | None, typer.Option("--event", help="A state of a study, such as failed. Repeatable. Default: all.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="The one that it is about. Default: all.")] = None,
    state: State = None,
    database: DatabaseUrl = None,
    output: Format = "table",
) -> None:
    """Make, list or remove the webhooks of a service. The secret of a new one is printed once."""
    what = "id" if action == "remove" else "URL"
    _check_action("webhook", action, WEBHOOK_ACTIONS, what, url, {"--event": events, "--study": study})
    with closing(_rows("webhook", root, state, database)) as rows:
        if url is None:
            _print_webhooks(rows, output)
        elif action == "create":
            _create_webhook(rows, url, events, study)
        else:
            _remove_webhook(rows, url)


def _check_action(
    command: str, action: str, actions: Collection[str], what: str, value: str | None, options: dict[str, Any]
) -> None:
    """Raise `UserError` for an action that there is not, or one with too little or too much behind it."""
    if action not in actions:
        raise UserError(f"{command}: {action!r} is not an action; {alternatives(action, actions)}")
    if value is None and action != "list":
        raise UserError(f"{command} {action}: needs {'an' if what == 'id' else 'a'} {what}")
    if value is not None and action == "list":
        raise UserError(f"{command} list: takes no {what}")
    if action != "create" and (given := next((name for name, one in options.items() if one is not None), None)):
        raise UserError(f"{given}: is for {command} create alone")


def _rows(command: str, root: str, state: Path | None, database: str | None) -> "Database":
    try:
        from kd_sweep.service.rows.database import Database
        from kd_sweep.service.service_settings import database_url
    except ModuleNotFoundError as error:
        raise UserError(
            f"{command}: needs {error.name}, which is not installed; in the checkout: pip install '.[service]'"
        ) from None
    return Database(database_url(root, state, database), make=False)


def _record(session: "Session", action: str, **detail: Any) -> None:
    """Record a change that the user of this machine makes."""
    from kd_sweep.service.access.audit import record
    from kd_sweep.service.access.roles import Identity, Role

    study = detail.pop("study", None)
    record(session, Identity(_user(), Role.ADMIN), action, _REQUEST, time.time(), study, **detail)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container, say, that has no name for its user
        return f"user {os.getuid()}"


def _create_token(rows: "Database", name: str, role: str, days: float | None) -> None:
    from kd_sweep.service.access.roles import Role
    from kd_sweep.service.access.tokens import create_token

    if role not in list(Role):
        raise UserError(f"--role: {role!r} is not a role; {alternatives(role, list(Role))}")
    if days is not None and not 0 < days < 36_500:
        raise UserError(f"--days: {days:g} is not above 0 and below 36500")
    with rows.changing() as session:
        _, secret = create_token(session, name, Role(role), time.time(), None if days is None else days * _DAY_S)
        _record(session, "token.create", name=name, token_role=role)
    print_message(f"token {name!r} with the role {role}; it is shown once:")
    print_secret(secret)


def _revoke_token(rows: "Database", name: str) -> None:
    from kd_sweep.service.access.tokens import revoke_token

    with rows.changing() as session:
        revoke_token(session, name, time.time())
        _record(session, "token.revoke", name=name)
    print_message(f"token {name!r} is void")


def _print_tokens(rows: "Database", output: str) -> None:
    from kd_sweep.service.access.tokens import all_tokens

    names = ("name", "role", "created_at", "expires_at", "revoked_at", "last_used_at")
    with rows.reading() as session:
        _print_rows([{name: getattr(row, name) for name in names} for row in all_tokens(session)], names, output)


def _create_webhook(rows: "Database", url: str, events: list[str] | None, study: str | None) -> None:
    from kd_sweep.service.queue.policy import Policy
    from kd_sweep.service.service_errors import PolicyError
    from kd_sweep.service.webhooks.subscriptions import EVENTS, add, check_url

    private = None
    try:
        check_url(url, Policy())
    except PolicyError:
        private = f"{url} is private: it is told by a service that was started with --allow-private-webhooks"
    with rows.changing() as session:
        policy = Policy(allow_private_webhooks=True)  # what is sent where is the service's to decide, when it sends
        made = add(session, url, by=_user(), policy=policy, events=events or EVENTS, study=study)
        _record(session, "webhook.create", study=study, id=made.id, url=url, events=made.events)
    if private is not None:
        print_message(private)
    print_message(f"webhook {made.id} is told of {', '.join(made.events)}; its secret is shown once:")
    print_secret(made.secret)


def _remove_webhook(rows: "Database", number: str) -> None:
    from kd_sweep.service.webhooks.subscriptions import listing, remove

    with rows.changing() as session:
        known = [str(one.id) for one in listing(session)]
        if number not in known:
            raise UserError(f"webhook: {number!r} is not the id of one; {alternatives(number, known)}")
        remove(session, int(number))
        _record(session, "webhook.remove", id=int(number))
    print_message(f"webhook {number} is removed")


def _print_webhooks(rows: "Database", output: str) -> None:
    from kd_sweep.service.webhooks.subscriptions import deliveries_of, listing

    def content(session: "Session", one: "Webhook") -> dict[str, Any]:
        shown = {name: getattr(one, name) for name in ("id", "url", "study", "created_by", "created_at")}
        return shown | {"events": " ".join(one.events)} | deliveries_of(session, one.id)

    names = (
        "id",
        "url",
        "events",
        "study",
        "num_waiting",
        "last_delivered_at",
        "last_error",
        "created_by",
        "created_at",
    )
    with rows.reading() as session:
        _print_rows([content(session, one) for one in listing(session)], names, output)


def _print_rows(found: list[dict[str, Any]], names: Collection[str], output: str) -> None:
    """Print rows as a table, whose columns are of text but for times, `…_at`, and numbers."""
    import pyarrow as pa

    kinds = {"id": pa.int64(), "num_waiting": pa.int64()}
    moment = pa.timestamp("s", tz="UTC")
    schema = pa.schema([(name, moment if name.endswith("_at") else kinds.get(name, pa.string())) for name in names])
    whole = [
        {name: int(row[name]) if name.endswith("_at") and row[name] is not None else row[name] for name in names}
        for row in found
    ]
    print_table(pa.Table.from_pylist(whole, schema), output, more=MORE)
