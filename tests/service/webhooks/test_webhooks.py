"""Webhooks against a real receiver: what it gets, signed as openssl signs it, and what happens when it fails."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Delivery
from kd_sweep.service.service_errors import NotFoundError, PolicyError, ServiceError
from kd_sweep.service.webhooks import subscriptions
from kd_sweep.service.webhooks.addresses import resolved
from kd_sweep.service.webhooks.sender import MAX_ATTEMPTS, Sender
from tests.service.submitting import Submit
from tests.service.webhooks.receiver import Receiver

PRIVATE = Policy(allow_private_webhooks=True)


def tell(database: Database, submitted: Submit, name: str, state: str) -> None:
    row = submitted(name, state=state)
    with database.changing() as session:
        subscriptions.tell(session, row, time.time())


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def delivery(database: Database) -> Delivery:
    with database.reading() as session:
        return session.scalars(select(Delivery)).one()


def test_a_receiver_gets_what_it_can_check(database: Database, submitted: Submit, receiver: Receiver) -> None:
    with database.changing() as session:
        webhook = subscriptions.add(session, receiver.url, by="anna", policy=PRIVATE)
    tell(database, submitted, "digits", "finished")
    tell(database, submitted, "cifar", "paused")  # nobody is told of that
    assert Sender(database, PRIVATE).send_due() == 1
    [(path, headers, body)] = receiver.received
    assert path == "/hook?a=b"
    content = json.loads(body)
    assert (content["event"], content["study"], content["submitted_by"]) == ("finished", "digits", "anna")
    assert headers["X-KD-Sweep-Event"] == "finished"
    assert abs(int(headers["X-KD-Sweep-Timestamp"]) - time.time()) < 60
    signed = headers["X-KD-Sweep-Timestamp"].encode() + b"." + body
    command = ["openssl", "dgst", "-sha256", "-hmac", webhook.secret]
    digest = subprocess.run(command, input=signed, capture_output=True, check=True).stdout.split()[-1].decode()
    assert headers["X-KD-Sweep-Signature"] == f"v1={digest}"
    told = delivery(database)
    assert told.delivered_at is not None
    assert (told.next_at, told.num_attempts, told.last_error) == (None, 1, None)
    assert Sender(database, PRIVATE).send_due() == 0


def test_a_failure_is_tried_again_until_it_is_taken(database: Database, submitted: Submit, receiver: Receiver) -> None:
    with database.changing() as session:
        subscriptions.add(session, receiver.url, by="anna", policy=PRIVATE)
    receiver.answers = [500, 302]  # a redirection is not followed
    tell(database, submitted, "digits", "failed")
    sender = Sender(database, PRIVATE, pause_s=0.05)
    sender.start()
    until(lambda: delivery(database).delivered_at is not None)
    sender.stop()
    assert [json.loads(body)["study"] for _, _, body in receiver.received] == ["digits"] * 3
    assert len({headers["X-KD-Sweep-Delivery"] for _, headers, _ in receiver.received}) == 1
    assert delivery(database).num_attempts == 3


def test_one_that_answers_slowly_holds_up_no_other_and_not_for_ever(
    database: Database, submitted: Submit, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kd_sweep.service.webhooks.sender.DEADLINE_S", 2.0)
    listening = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.1)

    threading.Thread(target=trickle, daemon=True).start()
    with database.changing() as session:
        slow = subscriptions.add(session, f"http://127.0.0.1:{listening.getsockname()[1]}/", by="anna", policy=PRIVATE)
        subscriptions.add(session, receiver.url, by="anna", policy=PRIVATE)
    for number in range(3):
        tell(database, submitted, f"digits{number}", "finished")
    sender = Sender(database, PRIVATE)
    assert sender.send_due(wait_s=0.0) == 2
    until(lambda: len(receiver.events()) == 3)
    with database.reading() as session:
        assert {
            one.num_attempts for one in session.scalars(select(Delivery).where(Delivery.webhook_id == slow.id))
        } == {0}

    def errors() -> list[str | None]:
        with database.reading() as session:
            return [one.last_error for one in session.scalars(select(Delivery).where(Delivery.num_attempts == 1))]

    until(lambda: "its answer was not complete after 2 s" in errors())
    listening.close()


def test_a_clock_that_was_set_back_delays_nothing(database: Database, submitted: Submit, receiver: Receiver) -> None:
    with database.changing() as session:
        subscriptions.add(session, receiver.url, by="anna", policy=PRIVATE)
    tell(database, submitted, "digits", "finished")
    with database.changing() as session:
        session.scalars(select(Delivery)).one().next_at = time.time() + 86_400
    assert Sender(database, PRIVATE).send_due() == 1
    assert receiver.events() == [("digits", "finished")]


def test_pauses_grow_and_one_that_never_answers_is_given_up(database: Database, submitted: Submit) -> None:
    with database.changing() as session:
        subscriptions.add(session, "http://127.0.0.1:9/", by="anna", policy=PRIVATE)
    tell(database, submitted, "digits", "budget_used")
    sender, pauses = Sender(database, PRIVATE), []
    for _ in range(MAX_ATTEMPTS):
        assert sender.send_due() == 1
        now = delivery(database)
        pauses.append(None if now.next_at is None else round(now.next_at - time.time()))
        with database.changing() as session:
            session.get_one(Delivery, now.id).next_at = now.next_at and time.time()
    assert pauses == [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600, None]
    assert "refused" in str(delivery(database).last_error)
    assert sender.send_due() == 0


def test_a_webhook_is_about_the_studies_and_events_that_it_names(
    database: Database, submitted: Submit, receiver: Receiver
) -> None:
    submitted("digits", state="running")
    with database.changing() as session:
        subscriptions.add(session, receiver.url, by="anna", policy=PRIVATE, events=["failed"], study="digits")
    tell(database, submitted, "cifar", "failed")
    assert Sender(database, PRIVATE).send_due() == 0
    with database.changing() as session:
        [webhook] = subscriptions.listing(session)
        subscriptions.remove(session, webhook.id)
        with pytest.raises(NotFoundError, match="7 is not the id of a webhook"):
            subscriptions.remove(session, 7)
    tell(database, submitted, "other", "failed")
    assert Sender(database, PRIVATE).send_due() == 0


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://[::1]:80/", "http://10.0.0.7/x", "https://169.254.169.254/latest/meta-data"),
        *("http://192.168.1.1", "http://localhost:8400", "http://a.localhost", "http://0.0.0.0", "http://224.0.0.1"),
        *("http://[::ffff:10.0.0.1]/", "http://[fe80::1]/", "http://[fd00::1]/", "http://100.64.0.1/"),
    ],
)
def test_private_addresses_are_refused_unless_they_are_allowed(database: Database, url: str) -> None:
    with database.changing() as session:
        with pytest.raises(PolicyError, match=r"where this server sends nothing .*--allow-private-webhooks"):
            subscriptions.add(session, url, by="anna", policy=Policy())
        assert subscriptions.add(session, url, by="anna", policy=PRIVATE).id


def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_sent(
    database: Database, submitted: Submit, receiver: Receiver
) -> None:
    """A name can lead elsewhere than when the webhook was made: the address counts that is connected to."""
    with pytest.raises(PolicyError, match=r"localhost \(.*\) is an address of this machine"):
        resolved("localhost", 80, Policy())
    assert resolved("1.1.1.1", 443, Policy()) == ("1.1.1.1", 443)
    with database.changing() as session:
        subscriptions.add(session, receiver.url.replace("127.0.0.1", "localhost"), by="anna", policy=PRIVATE)
    tell(database, submitted, "digits", "finished")
    assert Sender(database, Policy()).send_due() == 1
    assert receiver.received == []
    assert "is an address of this machine" in str(delivery(database).last_error)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/x", "is no URL of a webhook"),
        ("example.org", "is no URL of a webhook"),
        ("http://", "is no URL of a webhook"),
        ("http://example.org:99999/", "is no URL .*range"),
        ("http://me:secret@example.org/", "has a password"),
        ("http://example.org/\r\nX: y", "has a password or characters in it that no URL has"),
        ("http://example.org/" + "x" * 2000, "is no URL of a webhook"),
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(database: Database, url: str, message: str) -> None:
    with database.changing() as session, pytest.raises(ServiceError, match=message) as error:
        subscriptions.add(session, url, by="anna", policy=Policy())
    assert "secret" not in str(error.value)


def test_events_and_studies_that_there_are_not(database: Database) -> None:
    with database.changing() as session:
        with pytest.raises(ServiceError, match="did you mean 'finished'"):
            subscriptions.add(session, "https://example.org", by="anna", policy=Policy(), events=["finish"])
        with pytest.raises(ServiceError, match="events: names none"):
            subscriptions.add(session, "https://example.org", by="anna", policy=Policy(), events=[])
        with pytest.raises(NotFoundError):
            subscriptions.add(session, "https://example.org", by="anna", policy=Policy(), study="digits")
