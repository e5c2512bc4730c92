"""Arguments of commands: their types, help texts and checks."""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from kd_sweep.cli.completion import nothing, study_files, study_folders
from kd_sweep.cli.server_option import check_options
from kd_sweep.errors import QueryError, StorageError, UserError, alternatives

if TYPE_CHECKING:
    from kd_sweep.tables.queries.statement_limits import Limits

MORE = "--wide or --format csv"
"""How to see the columns that a terminal leaves out."""
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
SUMMARY_WIDTH = 61
"""Characters of a command's summary, so that it fits behind its name in 80 columns."""
_SQL = "SQL"
"""The name of the argument that may start like an option."""


class Command(TyperCommand):
    """A command that refuses impossible arguments in one line, before anything is done."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does, after a check of the arguments as they were written."""
        if ctx.resilient_parsing:  # a shell asks for completions
            return super().parse_args(ctx, args)
        parameters = self.get_params(ctx)
        if any(parameter.metavar == _SQL for parameter in parameters):
            args = behind_options(args, {option for parameter in parameters for option in parameter.opts})
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for name, value in _values(parameters, given):
            check_argument(name, value)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless its working directory was deleted, or an option would change nothing."""
        check_options(ctx)
        try:
            Path.cwd()
        except FileNotFoundError:
            raise UserError("the working directory was deleted; change into another one") from None
        return super().invoke(ctx)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example on a line of its own, never wrapped."""
        if self.epilog:
            formatter.write(f"\nExample:\n  {self.epilog}\n")


class Commands(TyperGroup):
    """All commands, listed in groups by `--help`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group with the first sentence of its commands."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            group = getattr(command, "rich_help_panel", None) or "Commands"
            groups.setdefault(group, []).append((name, command.get_short_help_str(SUMMARY_WIDTH)))
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


def behind_options(args: list[str], options: Set[str]) -> list[str]:
    """Move SQL that starts like an option, `-- a comment…`, behind `--` at the end, and return the arguments.

    Args:
        args: as the shell gave them.
        options: the names of the options of the command.
    """
    is_sql = [_is_comment(arg) and arg.partition("=")[0] not in options for arg in args]
    if "--" in args or not any(is_sql):
        return args
    pairs = list(zip(args, is_sql, strict=True))
    return [*(arg for arg, sql in pairs if not sql), "--", *(arg for arg, sql in pairs if sql)]


def _is_comment(arg: str) -> bool:
    """Whether an argument starts with a comment of SQL: an option by itself has no spaces."""
    return arg.startswith("--") and len(arg.split(maxsplit=1)) > 1


def check_argument(name: str, value: str) -> None:
    """Raise `UserError` for a value that is empty, not text, or in the home folder of an unknown user."""
    if not value.strip():
        raise UserError(f"{name}: is empty; if it came from a variable, that is not set")
    try:
        value.encode()
    except UnicodeEncodeError:
        visible = value.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UserError(f"{name}: '{visible}' is not UTF-8 text") from None
    if value.startswith("~"):
        try:
            Path(value).expanduser()
        except RuntimeError:
            user = value.partition("/")[0]
            raise UserError(
                f"{name}: {value} is in the home folder of {user[1:]!r}, whom this machine does not know"
            ) from None


def _values(parameters: list[Any], given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every text among the values, with the name of its option or argument as a user knows it."""
    for parameter in parameters:
        value = given.get(parameter.name)
        is_option = parameter.param_type_name == "option"
        name = max(parameter.opts, key=len) if is_option else parameter.metavar or parameter.name
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str):
                yield name, text


def format_option(*others: str) -> Any:
    """Return the option `--format`, checked before the work. `others` are allowed besides the formats of a table."""

    def check(context: typer.Context, output: str) -> str:
        if context.resilient_parsing:  # a shell asks for completions
            return output
        from kd_sweep.tables.rendering.output_formats import FORMATS

        if output not in (possible := (*others, *FORMATS)):
            raise QueryError(f"--format: {output!r} is not a format; {alternatives(output, possible)}")
        return output

    names = ", ".join([*others, "table", "csv", "json"])
    return typer.Option("--format", help=f"{names} or parquet.", callback=check)


def check_image_file(out: Path) -> None:
    """Check before the work that an image file can be written there.

    Raises:
        StorageError: its folder is missing, or its suffix is none of `IMAGE_SUFFIXES`. One line.
    """
    if out.suffix.lower() not in IMAGE_SUFFIXES:
        raise StorageError(f"--out: {out} is not the name of an image file; possible: {', '.join(IMAGE_SUFFIXES)}")
    if not out.parent.is_dir():
        raise StorageError(f"--out: {out.parent} is not a folder; make it first")


def limits_of(timeout_s: float | None, memory: str | None) -> "Limits":
    """Return the limits of a query from its options; `QueryError` if the memory limit is not a number of bytes."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from kd_sweep.tables.queries.statement_limits import Limits

    default = Limits()
    try:
        num_bytes = default.memory_bytes if memory is None else int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError:
        raise QueryError(f"--memory-limit: {memory!r} is not a number of bytes, such as 5000000000 or '5 GB'") from None
    return Limits(default.timeout_s if timeout_s is None else timeout_s, num_bytes)


def named_values(settings: list[str]) -> dict[str, str]:
    """Return the values of `--param NAME=VALUE` by name; `QueryError` where one has no `=`, or a name comes twice."""
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise QueryError(f"--param: {setting!r} is not NAME=VALUE, such as metric=val_accuracy")
        if name.strip() in values:
            raise QueryError(f"--param: {name.strip()} is given twice")
        values[name.strip()] = value.strip()
    return values


LOCAL_DASHBOARD = "http://127.0.0.1:8265"

Spec = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The study file.", autocompletion=study_files)]
StudyFolder = Annotated[
    str, typer.Argument(metavar="ROOT/STUDY", help="The study's folder.", autocompletion=study_folders)
]
ResultsRoot = Annotated[str, typer.Argument(metavar="ROOT", help="A results root or one study's folder.")]
RootOption = Annotated[str, typer.Option("--root", help="The folder or s3://… for studies and teachers.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a field: --set search.seed.grid=[0,1,2]. Repeatable."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Of a named query: --param metric=val_loss. Repeatable."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", envvar="RAY_ADDRESS", help="A Ray cluster, HOST:PORT. Default: Ray on this machine."),
]
Dashboard = Annotated[
    str,
    typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="A Ray cluster's dashboard, http://HOST:8265."),
]
Format = Annotated[str, format_option()]
LinesFormat = Annotated[str, format_option("lines")]
Wide = Annotated[bool, typer.Option("--wide", help="Print every column, however wide the terminal is.")]
ImageFile = Annotated[
    Path, typer.Option("--out", help="The image file to write: .png, .jpg or .webp.", autocompletion=nothing)
]
NumImages = Annotated[int, typer.Option(min=1, max=64, help="Number of validation images, from every class in turn.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Stop the query after this time. Default: 300.")
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="BYTES",
        help="Memory for the query and its answer, such as '8 GB'. Default: 4 GB, or half of the machine's.",
    ),
]
