"""The sender of what webhooks are told: signed, and tried again with growing pauses until it is taken."""

import contextlib
import hashlib
import hmac
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, or_, select

from kd_sweep.errors import KdSweepError
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Delivery, Webhook
from kd_sweep.service.service_errors import ServiceError
from kd_sweep.service.webhooks.addresses import resolved
from kd_sweep.version import __version__

POLL_S = 1.0
DEADLINE_S = 10.0
"""So long it may take to connect, and so long until the answer is there."""
MOST_THREADS = 16
FIRST_PAUSE_S, LONGEST_PAUSE_S, MAX_ATTEMPTS = 5.0, 3600.0, 10
"""After the first failure it is tried again after 5 s, then after thrice as long each time, for 3.5 hours in all."""
LAST_S = 3.0
"""So long deliveries that have begun may take when the sender ends. One that is cut off is sent again."""
_LOG = logging.getLogger(__name__)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what the header `X-KD-Sweep-Signature` has: HMAC-SHA256 over the timestamp, a dot, and the body."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class Sender:
    """What tells webhooks, in threads.

    Args:
        database: has what they are to be told.
        policy: whether they may be in private networks.
        pause_s: after the first failure.
    """

    def __init__(self, database: Database, policy: Policy, pause_s: float = FIRST_PAUSE_S) -> None:
        self._database = database
        self._policy = policy
        self._pause_s = pause_s
        self._threads: dict[int, threading.Thread] = {}
        self._idle_at: object = None
        """The stamp of rows with nothing to send, now or later."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after those that are being sent."""
        self._ended.set()
        self._thread.join()
        end = time.monotonic() + LAST_S
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while not self._ended.wait(POLL_S):
            try:
                self.send_due(wait_s=POLL_S)
            except KdSweepError as error:
                _LOG.warning("webhooks: %s", error)
            except Exception:
                _LOG.exception("webhooks go on after an error")

    def send_due(self, wait_s: float = 2 * DEADLINE_S) -> int:
        """Send what is due, each webhook's in a thread of its own: one that is slow holds up none of the others.

        Args:
            wait_s: how long to wait for all of them to be done.

        Returns:
            How many webhooks there is something for, less those that are still sent an earlier one.
        """
        stamp = self._database.stamp()
        if stamp == self._idle_at:
            return 0
        with self._database.reading() as session:
            webhooks = session.scalars(select(Delivery.webhook_id).where(_is_due()).distinct()).all()
            has_more = session.scalar(select(Delivery.id).where(Delivery.next_at.is_not(None)).limit(1)) is not None
        self._idle_at = None if has_more else stamp
        self._threads = {webhook: thread for webhook, thread in self._threads.items() if thread.is_alive()}
        begun = [one for one in webhooks if one not in self._threads][: MOST_THREADS - len(self._threads)]
        for webhook in begun:
            self._threads[webhook] = threading.Thread(target=self._send_all, args=(webhook,), daemon=True)
            self._threads[webhook].start()
        end = time.monotonic() + wait_s
        for webhook in begun:
            self._threads[webhook].join(max(0.0, end - time.monotonic()))
        return len(begun)

    def _send_all(self, webhook_id: int) -> None:
        """Send a webhook what is due, until one fails."""
        due = select(Delivery, Webhook).join(Webhook, Delivery.webhook_id == Webhook.id)
        has_failed = False
        while not has_failed and not self._ended.is_set():
            try:
                with self._database.reading() as session:
                    mine = due.where(Delivery.webhook_id == webhook_id, _is_due()).order_by(Delivery.next_at)
                    found = session.execute(mine.limit(1)).first()
                if found is None:
                    return
                delivery, webhook = found
                failure = self._failure(delivery, webhook)
                self._note(delivery, failure)
                has_failed = failure is not None
            except KdSweepError as error:  # it is sent again
                _LOG.warning("webhooks: %s", error)
                return

    def _failure(self, delivery: Delivery, webhook: Webhook) -> str | None:
        """Send it, and return why that has failed; None where it was taken."""
        body = json.dumps({"id": delivery.id, **delivery.payload}).encode()
        timestamp = f"{time.time():.0f}"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"kd-sweep/{__version__}",
            "X-KD-Sweep-Delivery": str(delivery.id),
            "X-KD-Sweep-Event": delivery.event,
            "X-KD-Sweep-Timestamp": timestamp,
            "X-KD-Sweep-Signature": signature(webhook.secret, timestamp, body),
        }
        try:
            status = self._post(webhook.url, body, headers)
        except ServiceError as error:
            return str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:300]
        return None if 200 <= status < 300 else f"it was answered with {status}"

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Send a request to the address that was checked, and return the status. Follows no redirection."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        host = parts.hostname or ""
        address = resolved(host, parts.port or (443 if is_tls else 80), self._policy)
        connection = http.client.HTTPConnection(host, parts.port)
        sock = socket.create_connection(address, timeout=DEADLINE_S)
        if is_tls:
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        # The timeout of a socket begins anew with every byte: one that sends them slowly would hold it for ever.
        watch = threading.Timer(DEADLINE_S, _shut_down, (sock,))
        watch.start()
        begun = time.monotonic()
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection.sock = sock
            target = parts.path or "/"
            connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            if time.monotonic() - begun < DEADLINE_S:
                raise
        finally:
            watch.cancel()
            connection.close()
            sock.close()
        if time.monotonic() - begun >= DEADLINE_S:
            raise ServiceError(f"its answer was not complete after {DEADLINE_S:g} s")
        return status

    def _note(self, sent: Delivery, failure: str | None) -> None:
        with self._database.changing() as session:
            delivery = session.get(Delivery, sent.id)
            if delivery is None:  # its webhook was removed meanwhile
                return
            delivery.num_attempts += 1
            delivery.last_error = failure
            if failure is None:
                delivery.delivered_at, delivery.next_at = time.time(), None
            elif delivery.num_attempts >= MAX_ATTEMPTS:
                delivery.next_at = None
                _LOG.warning("webhook %s is given up for event %s: %s", delivery.webhook_id, delivery.event, failure)
            else:
                pause_s = min(LONGEST_PAUSE_S, self._pause_s * 3 ** (delivery.num_attempts - 1))
                delivery.next_at = time.time() + pause_s


def _is_due() -> ColumnElement[bool]:
    """Return the condition of a delivery that is due now. A time that is too late is of a clock that was set back."""
    now = time.time()
    return or_(Delivery.next_at <= now, Delivery.next_at > now + LONGEST_PAUSE_S + 60.0)


def _shut_down(sock: socket.socket) -> None:
    """End what a thread waits for on a connection."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
