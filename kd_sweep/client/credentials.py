"""The token with which this machine calls a service: from the environment, or from a file that nobody else can read."""

import os
import stat
from pathlib import Path

from kd_sweep.errors import RemoteError

VARIABLE = "KD_SWEEP_TOKEN"


def token_file() -> Path:
    """Return the file that holds the token where the environment has none."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "kd_sweep" / "token"


def stored_token() -> str | None:
    """Return the token of this user; None without one.

    Raises:
        RemoteError: others can read the file, or it cannot be read.
    """
    if token := os.environ.get(VARIABLE, "").strip():
        return token
    file = token_file()
    try:
        mode = file.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise RemoteError(f"token: {file} can be read by others; chmod 600 {file}")
        return file.read_text().strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise RemoteError(f"token: {file} cannot be read: {reason}") from None
