"""The sender of what webhooks are told: signed, and tried again with growing pauses until it is taken."""

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

from sqlalchemy import select

from kd_sweep.errors import KdSweepError
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Delivery, Webhook
from kd_sweep.service.service_errors import ServiceError
from kd_sweep.service.webhooks.addresses import resolved
from kd_sweep.version import __version__

POLL_S = 1.0
TIMEOUT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S, MAX_ATTEMPTS = 5.0, 3600.0, 10
"""After the first failure it is tried again after 5 s, then after thrice as long each time, for 3.5 hours in all."""
_LOG = logging.getLogger(__name__)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what the header `X-KD-Sweep-Signature` has: HMAC-SHA256 over the timestamp, a dot, and the body."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class Sender:
    """What tells webhooks, in a thread.

    Args:
        database: has what they are to be told.
        policy: whether they may be in private networks.
        pause_s: after the first failure.
    """

    def __init__(self, database: Database, policy: Policy, pause_s: float = FIRST_PAUSE_S) -> None:
        self._database = database
        self._policy = policy
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the one that is being sent."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(POLL_S):
            try:
                self.send_due()
            except KdSweepError as error:
                _LOG.warning("webhooks: %s", error)
            except Exception:
                _LOG.exception("webhooks go on after an error")

    def send_due(self) -> int:
        """Send what is due, and return how much that was."""
        due = select(Delivery, Webhook).join(Webhook, Delivery.webhook_id == Webhook.id)
        with self._database.reading() as session:
            query = due.where(Delivery.next_at <= time.time()).order_by(Delivery.next_at).limit(20)
            pairs = [(delivery, webhook) for delivery, webhook in session.execute(query)]
        for delivery, webhook in pairs:
            if self._ended.is_set():
                break
            self._note(delivery, self._failure(delivery, webhook))
        return len(pairs)

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
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        sock = socket.create_connection(address, timeout=TIMEOUT_S)
        try:
            connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host) if is_tls else sock
            target = parts.path or "/"
            connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()
            sock.close()

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
