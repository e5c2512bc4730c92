"""The files of teachers' kept answers, by name: known without torch."""

LOGITS = "logits"
"""The folder of all of them in a results root."""
SUFFIX = ".safetensors"
_EPOCH = "epoch-"


def epoch_file(epoch: int) -> str:
    """Return the name of the file that holds an epoch, in the folder of a teacher and a stream."""
    return f"{_EPOCH}{epoch:05}{SUFFIX}"


def epoch_of_file(name: str) -> int | None:
    """Return which epoch a file in the folder of a stream holds; None for what is no such file."""
    number = name.removeprefix(_EPOCH).removesuffix(SUFFIX)
    return int(number) if name == f"{_EPOCH}{number}{SUFFIX}" and number.isdecimal() else None
