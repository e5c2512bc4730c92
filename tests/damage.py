"""Ways in which a file really breaks."""

from pathlib import Path

DAMAGES = ("truncated", "flipped", "empty", "missing")


def break_file(path: Path, how: str) -> None:
    """Damage a file: cut it off, flip a bit in it, empty it or remove it."""
    content = path.read_bytes()
    at = len(content) // 8  # in the data: the later part of a small Parquet file is its footer
    match how:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
