"""The reasons for which a worker lost its process, in a few words of Ray's account of it."""

import re

MAX_LOSSES = 8
"""So many times in a row may a trial or a teacher lose its process before it finishes another epoch."""

NOTICES = ("receives a SIGTERM", "received SIGTERM")
"""How Ray reports that a worker or a node has to end: the notice that preemption gives."""


def why_lost(text: str, address: str = "", crash: str | None = None, process: str = "the trial's process") -> str:
    """Return in a few words what Ray's account of a death amounts to.

    Args:
        text: Ray's account.
        address: the node's, for accounts without one.
        crash: the reason in the process's own log, where there is one.
        process: which one it was, in words.
    """
    node = re.search(r"(?:^\s*ip: |\(IP: )([^\s,]+)", text, re.MULTILINE)
    on_node = f" on {node[1] if node else address}" if node or address else ""
    if "low on memory" in text:
        used = re.search(r"was ([\d.]+[kMGT]?B) used / ([\d.]+[kMGT]?B)", text)
        detail = f" ({used[1]} of {used[2]} in use)" if used else ""
        return f"out of memory{on_node}: Ray ended a process because the node's memory ran out{detail}"
    if "its node has died" in text:
        why = re.search(r"node was terminated [a-z]+: (.+)", text)
        return f"the node{on_node} went away" + (f" ({why[1].strip()})" if why else "")
    if crash is not None:
        return f"{process}{on_node} crashed ({crash})"
    if "is unavailable" in text:
        return f"the connection to {process}{on_node} broke"
    if any(notice in text for notice in NOTICES):
        return f"{process}{on_node} received SIGTERM"
    if "worker process has died" in text:
        return f"{process}{on_node} was killed or crashed; the kernel does that too when memory runs out"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"{process} went away"
