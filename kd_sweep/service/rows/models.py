"""The rows of the service as classes. Times are seconds since 1970, UTC."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION = 1
"""Of these tables. A database of another version is refused."""


class Base(DeclarativeBase):
    """Of every table."""


class Meta(Base):
    """What the database says of itself."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Submission(Base):
    """A study that somebody has submitted: what is wanted of it, and how it stands."""

    __tablename__ = "submissions"
    __table_args__ = (Index("submissions_by_state", "state"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    """The order of arrival; never used again."""
    name: Mapped[str] = mapped_column(unique=True)
    """Of the study and its folder in the root."""
    study_yaml: Mapped[str]
    """Its study file, with the comments of whoever wrote it."""
    plugins_zip: Mapped[bytes | None] = mapped_column(deferred=True)
    """The modules that it names in `plugins`, as a ZIP file; None where it has none, or they are installed here."""
    submitted_by: Mapped[str]
    """The name of a token."""
    submitted_at: Mapped[float]
    priority: Mapped[int] = mapped_column(default=0)
    """Higher is run first."""
    slots: Mapped[int | None]
    """The most trials that may run at a time; what the study file says when None."""
    wanted: Mapped[str] = mapped_column(default="run")
    """`run`, `pause`, `cancel` or `delete`: what was asked for last."""
    state: Mapped[str] = mapped_column(default="queued")
    """One of `kd_sweep.service.queue.states.STATES`."""
    message: Mapped[str | None]
    """Why it stands so, on one line."""
    run_id: Mapped[str | None]
    """Of its latest driver: the folder of that name holds how the run ended."""
    driver_pid: Mapped[int | None]
    """While a driver runs, or has ended and its end is not yet noted."""
    num_failures: Mapped[int] = mapped_column(default=0)
    """Drivers that died one after another without an epoch in between."""
    next_start_at: Mapped[float | None]
    """When it is started again after such a death."""
    started_at: Mapped[float | None]
    """First start of a driver."""
    ended_at: Mapped[float | None]
    """When it came into a state that lasts."""
    revision: Mapped[int] = mapped_column(default=1)
    """Counts the changes of this row."""

    keys: Mapped[list["IdempotencyKey"]] = relationship(cascade="all, delete-orphan", passive_deletes=True)


class IdempotencyKey(Base):
    """A key with which a client may repeat a submission, and get what the first one made."""

    __tablename__ = "idempotency"

    submitter: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id", ondelete="CASCADE"), index=True)
    request_sha256: Mapped[str]


class Token(Base):
    """Who may call the service. The secret itself is kept nowhere."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class BrowserSession(Base):
    """A browser that has shown a token."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    """Of its cookie."""
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id", ondelete="CASCADE"))
    csrf: Mapped[str]
    expires_at: Mapped[float]


class AuditRow(Base):
    """A change that somebody has made."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - as SQLAlchemy declares it

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    who: Mapped[str]
    role: Mapped[str]
    action: Mapped[str]
    study: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    request_id: Mapped[str]


class Webhook(Base):
    """A URL that is told how studies end."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str]
    secret: Mapped[str]
    """Signs what is sent."""
    events: Mapped[list[str]] = mapped_column(JSON)
    study: Mapped[str | None]
    """The one that it is about; all of them when None."""
    created_by: Mapped[str]
    created_at: Mapped[float]


class Delivery(Base):
    """Something that a webhook is told, until it has been."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "change"),
        Index("deliveries_due", "next_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    change: Mapped[str]
    """Names the change of the study that it tells of: each is told once."""
    event: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    num_attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[float | None]
    """When it is tried next; None once it has been told, or given up."""
    delivered_at: Mapped[float | None]
    last_error: Mapped[str | None]
