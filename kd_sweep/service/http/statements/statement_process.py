"""The process that answers statements of SQL; `__main__.py` beside it starts it.

It reads one question at a time from its standard input, a line of JSON, and answers with a line of JSON that has the
error, or the number of bytes that follow. It ends with the input, when nobody has asked for `IDLE_S`, and when it has
become large or does not come to an end.
"""

import contextlib
import json
import os
import select
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kd_sweep.errors import KdSweepError
from kd_sweep.service.http.answers.table_forms import Form, encoded
from kd_sweep.tables.queries import sql
from kd_sweep.tables.queries.process_memory import bounded_memory, writable_bytes
from kd_sweep.tables.queries.statement_limits import Limits
from kd_sweep.tables.reader import open_results

IDLE_S = 60.0
_GROWN_BYTES = 256 * 1024**2
"""Of memory that answers have left behind: the next one would lack it, so a new process takes the place of this one."""
_FIRST_TO_END = Path("/proc/self/oom_score_adj")


@dataclass(frozen=True)
class Question:
    """A statement, and how its answer is wanted."""

    root: str
    """The results root, or the folder of one study."""
    query: str
    parameters: dict[str, Any]
    timeout_s: float
    memory_bytes: int
    form: str
    """One of `Form`."""
    most_rows: int
    """In JSON."""

    def line(self) -> bytes:
        """Return it as the line that the process reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main(memory_bytes: int) -> int:
    """Answer until the input ends, or nobody asks any more. Returns the exit code."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that a library prints is an answer
    with contextlib.suppress(OSError):
        _FIRST_TO_END.write_text("1000")  # where the machine has no memory left
    with bounded_memory(memory_bytes):
        return _answer_all(answers)


def _answer_all(answers: BinaryIO) -> int:
    at_start = writable_bytes() or 0
    while select.select([sys.stdin.buffer], [], [], IDLE_S)[0] and (line := sys.stdin.buffer.readline()):
        head, content = _answer(Question(**json.loads(line)))
        answers.write(json.dumps(head).encode() + b"\n")
        answers.write(content)
        answers.flush()
        del content
        if sql.is_busy() or (writable_bytes() or 0) - at_start > _GROWN_BYTES:
            os._exit(0)
    return 0


def _answer(question: Question) -> tuple[dict[str, Any], bytes]:
    limits = Limits(question.timeout_s, question.memory_bytes)
    try:
        table = open_results(question.root, limits).sql(question.query, question.parameters or None)
        about: dict[str, Any] = {"next": None}
        form = Form(question.form)
        if form in (Form.JSON, Form.COLUMNS):
            about = {"truncated": table.num_rows > question.most_rows, **about}
            table = table.slice(0, question.most_rows)
        content = encoded(table, form, about)
    except (KdSweepError, MemoryError) as error:
        told = error if isinstance(error, KdSweepError) else sql.too_much_memory(limits)
        return {"error": type(told).__name__, "message": str(told)}, b""
    except Exception:
        return {"failure": traceback.format_exc()}, b""
    return {"num_bytes": len(content)}, content
