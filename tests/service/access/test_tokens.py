"""Tokens are kept as hashes, expire, and can be revoked."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kd_sweep.service.access.bad_tokens import BadTokens
from kd_sweep.service.access.browser_sessions import LIFETIME_S, open_session, session_identity
from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.tokens import NotedUses, create_token, identified, revoke_token
from kd_sweep.service.rows.database import Database
from kd_sweep.service.service_errors import ConflictError, NotFoundError

NOW = 1_800_000_000.0


def test_a_token_is_kept_as_its_hash_alone(database: Database, tmp_path: Path) -> None:
    with database.changing() as session:
        token, secret = create_token(session, "laptop", Role.OPERATOR, NOW, None)
        assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    database.close()
    files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"laptop" in files
    assert secret.encode() not in files
    assert len(secret.removeprefix("kds_")) * 6 >= 256


def test_a_token_ends_with_its_time_and_with_its_revocation(database: Database) -> None:
    with database.changing() as session:
        _, short = create_token(session, "short", Role.VIEWER, NOW, 60.0)
        _, long = create_token(session, "long", Role.ADMIN, NOW, None)
    with database.reading() as session:
        found = identified(session, short, NOW + 59)
        assert found is not None
        assert (found.name, found.role) == ("short", Role.VIEWER)
        assert identified(session, short, NOW + 60) is None
        assert identified(session, long, NOW + 1e9) is not None
        assert identified(session, long[:-1], NOW) is None
        assert identified(session, "", NOW) is None
    with database.changing() as session:
        cookie, _ = open_session(session, found.token_id, NOW)
        revoke_token(session, "long", NOW + 5)
    with database.reading() as session:
        assert identified(session, long, NOW + 6) is None
        assert session_identity(session, cookie, NOW + 59) is not None
        assert session_identity(session, cookie, NOW + 61) is None, "its token has expired"
        assert session_identity(session, "other", NOW) is None
    assert LIFETIME_S <= 24 * 3600


def test_names_are_unique_and_mistakes_are_one_line(database: Database) -> None:
    with database.changing() as session:
        create_token(session, "laptop", Role.OPERATOR, NOW, None)
        with pytest.raises(ConflictError, match="there is a token 'laptop' already"):
            create_token(session, "laptop", Role.VIEWER, NOW, None)
        with pytest.raises(ConflictError, match="name: "):
            create_token(session, "two\nlines", Role.VIEWER, NOW, None)
        with pytest.raises(NotFoundError, match="did you mean 'laptop'"):
            revoke_token(session, "labtop", NOW)


def test_of_many_requests_at_once_one_notes_the_use_of_a_token() -> None:
    uses = NotedUses()
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: uses.take(1, NOW), range(200))) == 1
    assert uses.take(2, NOW)
    assert not uses.take(1, NOW + 60)
    assert uses.take(1, NOW + 61)


def test_ten_thousand_wrong_tokens_are_counted_in_bounded_memory_and_time() -> None:
    counted = BadTokens(allowed=3, window_s=60.0)
    assert [counted.count("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert counted.count("a", 1.0) == 59
    assert counted.count("b", 1.0) == 0
    assert counted.count("a", 61.1) == 0
    begun = time.perf_counter()
    for number in range(20_000):
        counted.count(f"address {number}", 100.0)
    assert time.perf_counter() - begun < 5
    assert counted.count("address 19999", 100.0) == 0
