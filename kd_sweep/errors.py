"""The tree of errors. A user's mistake is a `UserError`: one line with rule, value, its file and line, alternatives."""

import difflib
from collections.abc import Iterable

from kd_sweep.redaction import redacted


class KdSweepError(Exception):
    """Base of every error that this package raises on purpose. What its message quotes has no secrets."""

    exit_code = 1

    def __str__(self) -> str:
        return redacted(super().__str__())


class UserError(KdSweepError):
    """The input is wrong. The message is one line; nothing was written. The command line exits with 2."""

    exit_code = 2


class SpecError(UserError):
    """A study file, an override or a frozen study breaks a rule."""


class PluginError(UserError):
    """A plug-in cannot be imported, or what it registers is not what its kind must be."""


class StoppingRuleError(PluginError):
    """The stopping rule of a plug-in raises, or returns something else than a decision."""


class SamplerError(PluginError):
    """The sampler of a plug-in raises, or suggests what is not in the search space or not the same again."""


class DataError(UserError):
    """A dataset is missing, empty or laid out in another way than its reader needs."""


class QueryError(UserError):
    """A query cannot be answered: wrong SQL, SQL that writes, no such table, no results."""


class StorageError(UserError):
    """A results root or study folder is not what it should be, or cannot be written."""


class ClusterError(UserError):
    """The cluster cannot be reached, or lacks what the study asks for."""


class RemoteError(UserError):
    """A service cannot be reached, or refuses what was asked of it."""

    status: int | None = None
    """Of its answer by HTTP; None where there was none."""


class RayStartError(KdSweepError):
    """Ray cannot be started on this machine. The message is one line, with the reason from Ray's own log."""


class StudyLockedError(KdSweepError):
    """Another driver holds the study."""

    exit_code = 2


class ClusterLostError(KdSweepError):
    """The Ray under a running study has died."""


class StudyStoppedError(KdSweepError):
    """The storage failed (a full disk) or Ray died while a study ran: the run ended, and can go on from there."""


class TrialError(KdSweepError):
    """A trial cannot go on. The sweep records the message in the trial's row and continues with the others."""


class ProcessLostError(KdSweepError):
    """The process that trains a trial's student has died, and the trial goes on from its checkpoint in another one."""


class NonFiniteError(TrialError):
    """A loss or a metric became NaN or infinite."""


class CorruptFileError(KdSweepError):
    """A file of the study is damaged: its checksum, length or format is wrong."""


def alternatives(value: str, possible: Iterable[str], limit: int = 8, suffixes: tuple[str, ...] = ()) -> str:
    """Return ``did you mean 'x'?`` for a near miss, else ``possible: a, b, c``.

    Args:
        value: what the user wrote.
        possible: every value that would have been right.
        limit: how many of them to name at most.
        suffixes: endings that make no two values alike, as those of files.
    """
    names = sorted(possible)
    if not names:
        return "none are possible"
    bare = {_without(name, suffixes): name for name in names}
    near = difflib.get_close_matches(_without(value, suffixes), bare, n=1, cutoff=0.6)
    listed = ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")
    return f"did you mean {bare[near[0]]!r}? possible: {listed}" if near else f"possible: {listed}"


def _without(name: str, suffixes: tuple[str, ...]) -> str:
    return next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name)
