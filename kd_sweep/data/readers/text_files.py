"""Text files that come with datasets: their lines, from any editor."""

from pathlib import Path

from kd_sweep.errors import DataError


def read_lines(path: Path, origin: str, rule: str) -> list[str]:
    """Return the lines of a text in UTF-8, with or without a byte-order mark; they end as on Unix or Windows.

    Nothing else ends a line: file names may hold characters at which Python's `splitlines` splits.

    Args:
        path: the file.
        origin: begins the message: the field and the file.
        rule: ends it: the expected content of the file.

    Raises:
        DataError: it cannot be read, or is no text in UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise DataError(f"{origin} cannot be read ({reason}); {rule}") from None
    return [line.removesuffix("\r") for line in text.split("\n")]
