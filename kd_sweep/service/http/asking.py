"""Questions to Ray: one at a time, and whoever comes meanwhile gets the same answer."""

import asyncio

from starlette.concurrency import run_in_threadpool

from kd_sweep.service.cluster.ray_nodes import NodesReport, RayNodes


class Asking:
    """The questions of a service to its Ray. Those who wait for an answer hold no thread.

    Args:
        nodes: asks Ray.
    """

    def __init__(self, nodes: RayNodes) -> None:
        self._nodes = nodes
        self._running: asyncio.Task[NodesReport] | None = None

    async def report(self) -> NodesReport:
        """Return what is known of Ray's nodes."""
        if self._running is None:
            self._running = asyncio.create_task(run_in_threadpool(self._nodes.report))
            self._running.add_done_callback(self._done)
        return await asyncio.shield(self._running)

    def _done(self, _: object) -> None:
        self._running = None
