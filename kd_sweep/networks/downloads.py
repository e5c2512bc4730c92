"""Downloads with a limit: an error, instead of an endless wait, where the server does not answer."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GRACE_S = 15.0
"""A file in a cache is read by then, and no server is asked."""
ANSWER_S = 10.0
"""Time for a server to answer anything at all."""
RECHECK_S = 60.0
"""Time between checks of a download that goes on: it may take hours, as long as its server answers."""


def while_it_answers(download: Callable[[], T], url: str, *, grace_s: float = GRACE_S, answer_s: float = ANSWER_S) -> T:
    """Return the result of ``download``.

    Args:
        download: a function that may wait for a server without limit, as torch.hub does, or try again and again.
        url: a page of that server.
        grace_s: time before the first check that it answers.
        answer_s: time for it to answer.

    Raises:
        TimeoutError: the server does not answer.
        Exception: whatever ``download`` raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(download())
        except BaseException as error:  # raised again below, by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    thread.join(grace_s)
    while thread.is_alive():
        if not _answers(url, answer_s):
            raise TimeoutError(f"{url} does not answer within {answer_s:g} s")
        thread.join(RECHECK_S)
    if errors:
        raise errors[0]
    return results[0]


def _answers(url: str, answer_s: float) -> bool:
    """Whether a server answers, if only with an error. The limit includes the lookup of its name, unlike a timeout."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            with contextlib.suppress(urllib.error.HTTPError):
                # An opener of its own: `urlopen` keeps the proxies of its first call for the process's life.
                opener = urllib.request.build_opener()
                opener.open(urllib.request.Request(url, method="HEAD"), timeout=answer_s).close()
            answered.set()

    threading.Thread(target=ask, name="ask", daemon=True).start()
    return answered.wait(answer_s)
