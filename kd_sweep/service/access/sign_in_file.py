"""The file of `--sign-in`: which proxy is believed, and who has which role. Every mistake is one line."""

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from kd_sweep.errors import StorageError, UserError, alternatives
from kd_sweep.service.access.proxy_sign_in import SECRET_HEADER, ProxySignIn
from kd_sweep.service.access.roles import Role
from kd_sweep.study.file.messages import value_rule
from kd_sweep.study.file.yaml_reader import Document, KeyPath, one_line, read_yaml, shown

_TAKEN = frozenset(
    {"authorization", "cookie", "host", "origin", "connection", "content-type", "content-length", "x-csrf-token"}
    | {"sec-fetch-site", "x-request-id", SECRET_HEADER.lower()}
)
"""Headers that mean something else."""
_SECRET = re.compile(r"[!-~]{32,200}")
_SECTION = ConfigDict(extra="forbid", frozen=True, strict=True)


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,99}", name) or name.lower() in _TAKEN:
        raise ValueError(f"{name!r} is not a header for this, such as X-Forwarded-Email")
    return name


def _address(address: str) -> str:
    if not re.fullmatch(r"(https?://[^\s/@]+)?/(?!/)[!-~]*", address) or "\\" in address:
        raise ValueError(f"{address!r} is not a path or URL, such as /oauth2/sign_out")
    return address


Header = Annotated[str, AfterValidator(_header)]


class _Proxy(BaseModel):
    model_config = _SECTION

    secret_file: str
    user_header: Header
    groups_header: Header | None = None
    sign_out: Annotated[str, AfterValidator(_address)] | None = None


class _Granted(BaseModel):
    model_config = _SECTION

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    everybody: bool = False


class _Roles(BaseModel):
    model_config = _SECTION

    viewer: _Granted = _Granted()
    operator: _Granted = _Granted()
    admin: _Granted = _Granted()


class _SignIn(BaseModel):
    model_config = _SECTION

    proxy: _Proxy
    roles: _Roles


def load_sign_in(path: Path) -> ProxySignIn:
    """Read how people sign in.

    Args:
        path: the file, in YAML. The secret's file is named from its folder.

    Raises:
        UserError: the file, or that of the secret, cannot be read or used. One line.
    """
    document = read_yaml(_text(path, "--sign-in"), one_line(str(path)))
    content = _checked(document)
    proxy = content.proxy
    if (proxy.groups_header or "").lower() == proxy.user_header.lower():
        raise document.error(("proxy", "groups_header"), "is the header of the user, too")
    roles = {role: getattr(content.roles, role) for role in Role}
    for role, given in roles.items():
        if given.groups and proxy.groups_header is None:
            raise document.error(("roles", role.value, "groups"), "needs proxy.groups_header")
    if not any(given.users or given.groups or given.everybody for given in roles.values()):
        raise document.error(("roles",), "gives nobody a role; name users or groups, or everybody: true")
    secret = _secret(path.parent / proxy.secret_file)
    return ProxySignIn(secret, proxy.user_header, proxy.groups_header, proxy.sign_out, roles)


def _checked(document: Document) -> _SignIn:
    if not isinstance(document.content, dict):
        raise document.error((), f"{shown(document.content)} instead of the keys proxy and roles")
    try:
        return _SignIn.model_validate_json(json.dumps(document.content))
    except ValidationError as error:
        details = sorted(error.errors(include_url=False), key=lambda one: one["type"] == "missing")[0]
    path: KeyPath = details["loc"]
    if details["type"] == "missing":
        raise document.error(path, "is missing")
    if details["type"] == "extra_forbidden":
        raise document.error(path, f"unknown key, {alternatives(str(path[-1]), _keys(path[:-1]))}")
    raise document.error(path, value_rule(details, document.numbers.get(path), "[anna@example.org]"))


def _keys(path: KeyPath) -> Mapping[str, Any]:
    model: type[BaseModel] = _SignIn
    for part in path:
        inner = model.model_fields[str(part)].annotation
        assert isinstance(inner, type)
        model = inner
    return model.model_fields


def _secret(path: Path) -> str:
    """Return the secret that the proxy shows; others of this machine may not be able to read it."""
    secret = _text(path, "proxy.secret_file").strip()
    if path.stat().st_mode & stat.S_IRWXO:
        raise UserError(f"proxy.secret_file: {path} can be read by everybody on this machine; chmod 600 {path}")
    if not _SECRET.fullmatch(secret):
        raise UserError(
            f"proxy.secret_file: {path} does not hold 32 to 200 characters without spaces; "
            f"possible: openssl rand -hex 32 > {path}"
        )
    return secret


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise StorageError(f"{what}: {path} cannot be read: {reason}") from None
