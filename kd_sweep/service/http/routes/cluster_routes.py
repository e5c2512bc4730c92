"""The route that shows the cluster: nodes, what runs on them, what waits."""

from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from kd_sweep.service.http.answers.cluster_content import cluster_content
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of

router = api_router("cluster", ForViewers)


@router.get("/cluster")
async def cluster(request: Request) -> dict[str, Any]:
    """The nodes of Ray with what is used of them, the studies and trials that use it, and the queue.

    Nodes are as of `ray.read_at`, a few seconds ago. Where no Ray is running, or it does not answer, `ray.problem` says
    so; nodes are then the last that were known.
    """
    report = await request.app.state.asking.report()
    return await run_in_threadpool(cluster_content, serving_of(request), report)
