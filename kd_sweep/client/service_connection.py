"""A connection to a service: requests that are tried again, and problems as the errors of kd_sweep."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from kd_sweep import errors
from kd_sweep.errors import KdSweepError, RemoteError
from kd_sweep.version import __version__

try:
    import httpx
except ImportError:  # pragma: no cover - said where a connection is asked for
    raise RemoteError(
        "a service is called with httpx, which is not installed; in the checkout: pip install '.[service]'"
    ) from None

PREFIX = "/api/v1"
ARROW = "application/vnd.apache.arrow.stream"
_PAUSES_S = (0.2, 1.0, 3.0)
"""Between attempts."""
_WORTH_TRYING_AGAIN = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE_S = 30.0


class Connection:
    """Sends requests to a service.

    Args:
        url: of the service, such as ``http://127.0.0.1:8400``.
        token: that an admin has made.
        timeout_s: of each answer.

    Raises:
        RemoteError: the URL is none.
    """

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise RemoteError(f"server: {url!r} is not a URL such as http://127.0.0.1:8400")
        self.url = url.rstrip("/")
        headers = {"User-Agent": f"kd-sweep/{__version__}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._client = httpx.Client(base_url=f"{self.url}{PREFIX}", headers=headers, timeout=timeout_s)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise RemoteError(
                f"server: {url!r} is not a URL such as http://127.0.0.1:8400, or the token is none"
            ) from None

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the JSON at a path; parameters that are None are left out."""
        return self.request("GET", path, parameters=parameters).json()

    def table(self, path: str, **parameters: Any) -> pa.Table:
        """Return the table at a path."""
        answer = self.request("GET", path, parameters=parameters, headers={"Accept": ARROW})
        return _table(answer.content)

    def asked(self, path: str, content: Mapping[str, Any]) -> pa.Table:
        """Return the table with which a path answers JSON; nothing is changed, so it may be sent again."""
        answer = self.request("POST", path, json=content, headers={"Accept": ARROW}, is_safe=True)
        return _table(answer.content)

    def request(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        is_safe: bool = False,
    ) -> httpx.Response:
        """Send a request; return the answer if it is none of a problem.

        Args:
            method: of HTTP.
            path: below the API.
            parameters: of the query; those that are None are left out.
            json: the body.
            headers: beside the usual ones.
            is_safe: it may be sent again though it is no GET: it changes nothing, or has a key.

        Raises:
            RemoteError: the service cannot be reached, or refuses this.
            KdSweepError: the error that the same would have raised here, such as `QueryError`.
        """
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        pauses = iter(_PAUSES_S if method == "GET" or is_safe else ())
        while True:
            try:
                answer = self._client.request(method, path, params=given, json=json, headers=headers)
            except httpx.TransportError as error:
                if (pause_s := next(pauses, None)) is None:
                    raise self._unreachable(error) from None
            else:
                pause_s = next(pauses, None) if answer.status_code in _WORTH_TRYING_AGAIN else None
                if pause_s is None:
                    return self._checked(answer)
                pause_s = max(pause_s, _retry_after_s(answer))
            time.sleep(min(pause_s, _LONGEST_PAUSE_S))

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, **parameters: Any
    ) -> Iterator[httpx.Response]:
        """Yield an answer whose content is read while it comes; errors as `request`."""
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            with self._client.stream("GET", path, params=given, headers=headers) as answer:
                if answer.is_error:
                    answer.read()
                yield self._checked(answer)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        """Close it; it is opened again where it is used again."""
        self._client.close()

    def _unreachable(self, error: Exception) -> RemoteError:
        return RemoteError(f"server: {self.url} cannot be reached: {str(error) or type(error).__name__}")

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        try:
            problem = answer.json()
            detail, name = str(problem["detail"]), str(problem.get("error"))
        except (ValueError, KeyError, TypeError, AttributeError):
            detail, name = f"server: {self.url} answers {answer.status_code}; is it a service of kd_sweep?", ""
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, KdSweepError) and kind is not RemoteError:
            raise kind(detail)
        refusal = RemoteError(detail)
        refusal.status = answer.status_code
        raise refusal


def _table(content: bytes) -> pa.Table:
    try:
        with pa.ipc.open_stream(content) as reader:
            return reader.read_all()
    except pa.ArrowException as error:
        raise RemoteError(f"server: sends no table ({str(error).partition(chr(10))[0]})") from None


def _retry_after_s(answer: httpx.Response) -> float:
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isdigit() else 0.0
