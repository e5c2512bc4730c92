"""A server that speaks S3 on loopback, and a proxy before it that behaves as an object store on a bad day."""

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "sweeps"
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "expect"}
FAILURE = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>An internal error.</Message></Error>'


class FaultyProxy(ThreadingHTTPServer):
    """Hands requests on; some are answered 500, before or after they were carried out, and some slowly."""

    daemon_threads = True

    def __init__(self, host: str, port: int, *, failures: float, slow: float, slow_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = (host, port)
        self.failures, self.slow, self.slow_s = failures, slow, slow_s
        self.random = random.Random(0)
        self.counts: Counter[str] = Counter()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def do_any(self) -> None:
        body = self._body()
        proxy = self.server
        proxy.counts["requests"] += 1
        if proxy.random.random() < proxy.slow:
            proxy.counts["slow"] += 1
            time.sleep(proxy.slow_s)
        fate = proxy.random.random()
        if fate < proxy.failures / 2:  # lost on the way there
            proxy.counts["failed"] += 1
            self._answer(500, {"Content-Type": "application/xml"}, FAILURE)
            return
        status, headers, answer = self._handed_on(body)
        if fate < proxy.failures and status < 300:  # carried out, and lost on the way back
            proxy.counts["failed"] += 1
            self._answer(500, {"Content-Type": "application/xml"}, FAILURE)
            return
        self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _handed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.server.target, timeout=60)
        with contextlib.closing(connection):
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
            connection.request(self.command, self.path, body, kept)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP_HEADERS | {"content-length"}:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", headers.get("Content-Length", "0") if is_head else str(len(body)))
        self.end_headers()
        if not is_head and status not in (204, 304):
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def object_server() -> Iterator[tuple[str, int]]:
    """Yield the address of an S3 server that has one bucket, `BUCKET`."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class KeptOpen(MotoRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *arguments: object) -> None:
            pass

    # moto's own server has a connection for each request, and looks for its service among all that there are.
    server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=KeptOpen)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == 200
        yield "127.0.0.1", server.port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def object_store(*, failures: float = 0.0, slow: float = 0.0, slow_s: float = 0.0) -> Iterator[FaultyProxy]:
    """Yield a proxy before an `object_server`.

    Args:
        failures: share of the requests that are answered 500.
        slow: share of them that wait before.
        slow_s: how long.
    """
    with object_server() as (host, port), FaultyProxy(host, port, failures=failures, slow=slow, slow_s=slow_s) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()


def settings(host: str, port: int) -> dict[str, str]:
    """Return the environment by which every S3 client finds the store."""
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
