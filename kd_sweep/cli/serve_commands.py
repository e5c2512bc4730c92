"""The command that runs a service: its queue, its drivers, its API by HTTP."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kd_sweep.cli.arguments import Address
from kd_sweep.cli.screen import print_message, print_output, print_secret
from kd_sweep.errors import UserError

if TYPE_CHECKING:
    from kd_sweep.service.service_core import ServiceCore

MaxSlots = Annotated[int | None, typer.Option("--max-slots", min=1, help="The most trials of a study at a time.")]
MaxTrials = Annotated[int | None, typer.Option("--max-trials", min=1, help="The most trials that a study may have.")]
AllowPlugins = Annotated[bool, typer.Option("--allow-plugins", help="Studies may bring code of their own.")]
AllowDownloads = Annotated[bool, typer.Option("--allow-downloads", help="Studies may download.")]
AllowPrivateWebhooks = Annotated[
    bool, typer.Option("--allow-private-webhooks", help="Webhooks may lead into private networks.")
]
SignInFile = Annotated[
    Path | None, typer.Option("--sign-in", metavar="FILE", help="Whom a proxy signs in, and their roles.")
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Answer questions, and run and change nothing.")]


def serve(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="The results root; made if missing.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8400,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="HOST", help="A name by which it is called. Repeatable.")
    ] = None,
    address: Address = None,
    state: Annotated[Path | None, typer.Option("--state", help="The folder of its own files, on a local disk.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="The URL of its rows, of PostgreSQL say.")] = None,
    max_studies: Annotated[int, typer.Option(min=1, help="How many studies run at once.")] = 1,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="DIR", help="Studies may name paths below. Repeatable.")
    ] = None,
    max_slots: MaxSlots = None,
    max_trials: MaxTrials = None,
    allow_plugins: AllowPlugins = False,
    allow_downloads: AllowDownloads = False,
    allow_private_webhooks: AllowPrivateWebhooks = False,
    sign_in: SignInFile = None,
    read_only: ReadOnly = False,
) -> None:
    """Run studies of a queue, and answer by HTTP what the root has. The first start prints a token of an admin."""
    from kd_sweep.service.http.listening.returned_memory import keep_little

    keep_little()
    policy = {"allow_plugins": allow_plugins, "allow_downloads": allow_downloads, "data_folders": tuple(data or ())}
    policy |= {"allow_private_webhooks": allow_private_webhooks, "max_slots": max_slots, "max_trials": max_trials}
    where = {"state": state, "database": database, "address": address, "host": host, "port": port}
    core = _core(root, policy, where | {"max_studies": max_studies, "read_only": read_only}, sign_in)
    from kd_sweep.service.http.server import run_server, serving_of_core

    try:
        core.start()
        secret = _first_token(core)
        run_server(serving_of_core(core, names or ()), host, port, lambda url: _ready(core, url, secret))
    finally:
        core.stop()


def _core(root: str, policy: dict[str, Any], settings: dict[str, Any], sign_in: Path | None) -> "ServiceCore":
    try:
        from kd_sweep.service.access.sign_in_file import load_sign_in
        from kd_sweep.service.queue.policy import Policy
        from kd_sweep.service.service_core import ServiceCore
        from kd_sweep.service.service_settings import service_settings
    except ModuleNotFoundError as error:
        raise UserError(f"serve: needs {error.name}; in the checkout: pip install '.[service]'") from None
    settings["sign_in"] = None if sign_in is None else load_sign_in(sign_in)
    return ServiceCore(service_settings(root, policy=Policy(**policy), **settings))


def _first_token(core: "ServiceCore") -> str | None:
    """Make a token of an admin where there is none at all, and return it."""
    from kd_sweep.service.access.roles import Role
    from kd_sweep.service.access.tokens import all_tokens, create_token

    if core.read_only is not None:
        return None
    with core.changing() as session:
        return None if all_tokens(session) else create_token(session, "admin", Role.ADMIN, time.time(), None)[1]


def _ready(core: "ServiceCore", url: str, secret: str | None) -> None:
    print_output(url)
    if secret is not None:
        print_message("the token of its admin, which is shown once:")
        print_secret(secret)
    if core.read_only is not None:
        print_message(f"nothing can be changed here: {core.read_only}")
