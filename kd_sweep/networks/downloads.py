"""Downloads that end in an error where the other side does not answer, instead of never."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GRACE_S = 15.0
"""What is in a cache is there by then, and nobody is asked."""
ANSWER_S = 10.0
"""How long a server has to say anything at all."""
RECHECK_S = 60.0
"""How often a download that goes on is looked after: it may take hours, as long as its server answers."""


def while_it_answers(download: Callable[[], T], url: str, *, grace_s: float = GRACE_S, answer_s: float = ANSWER_S) -> T:
    """Return what ``download`` returns.

    Args:
        download: may ask a server without a limit of time, as torch.hub does, or again and again.
        url: a page of that server.
        grace_s: how long nobody asks whether it answers.
        answer_s: how long it has to answer.

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
    """Whether a server says anything, be it an error. Looking up its name is limited too, which a timeout is not."""
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
