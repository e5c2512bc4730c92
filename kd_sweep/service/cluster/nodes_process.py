"""The process that asks a Ray head for its nodes: `python -m kd_sweep.service.cluster.nodes_process ADDRESS`.

It answers each line on its standard input with a line of JSON, and ends with the input, or when nobody has asked for
`IDLE_S`. So the service loads no Ray, and a question costs a millisecond while somebody looks.
"""

import json
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

from kd_sweep.driver.ray.address import AUTO, CONNECT_S

IDLE_S = 60.0
ASK_S = 5.0


def main(address: str) -> int:
    """Answer until the input ends, or nobody asks any more. Returns the exit code."""
    ask: Callable[[float], list[dict[str, Any]]] | None = None
    while select.select([sys.stdin], [], [], IDLE_S)[0] and sys.stdin.readline():
        try:
            ask = ask or _connected(address)
            answer: dict[str, Any] = {"nodes": ask(ASK_S)}
        except Exception as error:  # whatever Ray raises where the head does not answer
            ask, reason = None, getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
            answer = {"problem": reason.splitlines()[0][:300]}
        print(json.dumps(answer), flush=True)
    return 0


def _connected(address: str) -> Callable[[float], list[dict[str, Any]]]:
    if address != AUTO:
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()  # Ray would try for long
    from kd_sweep.driver.ray.private import nodes_of

    return nodes_of(address)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
