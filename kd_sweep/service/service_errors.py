"""The errors of the service: each one line, with the status by which HTTP answers it."""

from typing import ClassVar

from kd_sweep.errors import KdSweepError


class ServiceError(KdSweepError):
    """What was asked of the service cannot be done. Nothing has changed."""

    exit_code = 2
    status: ClassVar[int] = 400
    """Of the answer by HTTP."""


class NotFoundError(ServiceError):
    """There is no such study, token or webhook."""

    status = 404


class ConflictError(ServiceError):
    """The name is taken, or a key of a request has been used for another request."""

    status = 409


class StateError(ServiceError):
    """The study's state does not allow the change; the message says what it allows."""

    status = 409


class PolicyError(ServiceError):
    """The server does not allow what the study names; the message says what it allows."""

    status = 403


class ReadOnlyError(ServiceError):
    """Another service runs the studies of this root, or this one was started to be read; the message says which."""

    status = 503


class UnstorableTextError(ServiceError):
    """No row can hold a text, and so none has it."""

    status = 422


class DatabaseError(ServiceError):
    """The service's own rows cannot be read or written."""

    status = 503
