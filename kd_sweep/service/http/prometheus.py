"""Numbers for Prometheus: requests by route and status, studies by state, streams that are open."""

import threading
from collections import Counter
from collections.abc import Iterator

from sqlalchemy import func, select

from kd_sweep.service.http.serving import Serving
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.rows.models import Submission
from kd_sweep.version import __version__

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Counters:
    """What has been answered since the service started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._durations: Counter[float] = Counter()
        self._sum_s = 0.0
        self.streams: Counter[str] = Counter()
        """Streams of events that are open, by who has opened them."""

    @property
    def num_streams(self) -> int:
        """How many streams of events are open."""
        return self.streams.total()

    def answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count an answer; ``route`` is the path with names of its variables, so that there are few."""
        with self._lock:
            self._requests[method, route, status] += 1
            self._sum_s += duration_s
            for bound in _BOUNDS_S:
                self._durations[bound] += duration_s <= bound

    def lines(self) -> Iterator[str]:
        """Yield the lines of the counters."""
        with self._lock:
            requests, durations, total_s = dict(self._requests), dict(self._durations), self._sum_s
        yield "# HELP kd_sweep_http_requests_total Requests that were answered."
        yield "# TYPE kd_sweep_http_requests_total counter"
        for (method, route, status), number in sorted(requests.items()):
            yield f'kd_sweep_http_requests_total{{method="{method}",route="{route}",status="{status}"}} {number}'
        yield "# HELP kd_sweep_http_request_duration_seconds Time until a request was answered."
        yield "# TYPE kd_sweep_http_request_duration_seconds histogram"
        number = sum(requests.values())
        for bound in _BOUNDS_S:
            yield f'kd_sweep_http_request_duration_seconds_bucket{{le="{bound}"}} {durations.get(bound, 0)}'
        yield f'kd_sweep_http_request_duration_seconds_bucket{{le="+Inf"}} {number}'
        yield f"kd_sweep_http_request_duration_seconds_sum {total_s:.6f}"
        yield f"kd_sweep_http_request_duration_seconds_count {number}"
        yield from _gauge("kd_sweep_event_streams", "Streams of events that are open.", self.num_streams)


def metrics_text(counters: Counters, serving: Serving) -> str:
    """Return all numbers as Prometheus reads them."""
    with serving.rows.reading() as session:
        query = select(Submission.state, func.count()).group_by(Submission.state)
        states = {row[0]: row[1] for row in session.execute(query)}
    lines = [*counters.lines()]
    lines.append("# HELP kd_sweep_submissions Submitted studies by their state.")
    lines.append("# TYPE kd_sweep_submissions gauge")
    lines += [f'kd_sweep_submissions{{state="{state}"}} {states.get(state, 0)}' for state in STATES]
    lines += _gauge("kd_sweep_read_only", "1 where nothing can be changed.", int(serving.read_only() is not None))
    lines += ["# HELP kd_sweep_info The version.", "# TYPE kd_sweep_info gauge"]
    lines.append(f'kd_sweep_info{{version="{__version__}"}} 1')
    return "\n".join(lines) + "\n"


def _gauge(name: str, text: str, value: float) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
    yield f"{name} {value}"
