"""Routes for those who operate the service: is it alive, is it ready, how much does it do."""

from fastapi import Request, Response

from kd_sweep.service.http.authorization import ForViewers, Public
from kd_sweep.service.http.prometheus import MEDIA_TYPE, metrics_text
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.service_errors import DatabaseError

router = api_router("operation", prefix="")


@router.get("/healthz", dependencies=[Public])
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", dependencies=[Public], responses={503: {"description": "It is not; the detail says why."}})
def readyz(request: Request) -> dict[str, str]:
    """The rows can be read, and the queue is worked off; a service that only reads is ready, too."""
    serving = serving_of(request)
    with serving.rows.reading():
        pass
    reason = serving.is_working() if serving.read_only() is None else serving.why_gone()
    if reason is not None:
        raise DatabaseError(reason)
    return {"status": "ready"}


@router.get("/metrics", dependencies=[ForViewers])
def metrics(request: Request) -> Response:
    """Numbers for Prometheus, as text."""
    return Response(metrics_text(request.app.state.counters, serving_of(request)), media_type=MEDIA_TYPE)
