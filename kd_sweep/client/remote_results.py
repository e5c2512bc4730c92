"""The results of a service's root, with the face of `open_results`; and the studies that it runs."""

import base64
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kd_sweep.api.study import Study
from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.client.credentials import stored_token
from kd_sweep.client.remote_study import RemoteStudy, RemoteTables
from kd_sweep.client.service_connection import Connection
from kd_sweep.errors import QueryError, RemoteError, alternatives

if TYPE_CHECKING:
    from kd_sweep.client.remote_study import Told


def connect(url: str, token: str | None = None, *, timeout_s: float = 60.0) -> "RemoteResults":
    """Connect to a service of kd_sweep.

    Args:
        url: of the service, such as ``http://127.0.0.1:8400``.
        token: that an admin has made with ``kd-sweep token create``. When None: the variable ``KD_SWEEP_TOKEN``, or the
            file ``~/.config/kd_sweep/token``, which nobody else may be able to read.
        timeout_s: of each answer.

    Raises:
        RemoteError: nothing answers there, or it does not know the token. One line.
    """
    results = RemoteResults(Connection(url, token if token is not None else stored_token(), timeout_s))
    results.whoami()
    return results


class RemoteResults(RemoteTables):
    """Every study of a service, by its name: ``results["digits"]``. Each call asks the service what is so then."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, None)

    def whoami(self) -> dict[str, str]:
        """Return the `name` and the `role` of the token."""
        content: dict[str, str] = self.connection.get("/session")
        return {"name": content["name"], "role": content["role"]}

    def studies(self) -> list[str]:
        """Return the names of the studies, sorted: those in the queue, and those with results."""
        return sorted(entry["name"] for entry in self.entries())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield what the service says of each study: the queue's newest first, then others by name."""
        after: str | None = None
        while True:
            page = self.connection.get("/studies", after=after, limit=200)
            yield from page["studies"]
            if (after := page["next"]) is None:
                return

    def status(self) -> list[dict[str, Any]]:
        """Return one dict per study with results: the keys of `Results.status`, times as text."""
        found = [entry["progress"] for entry in self.entries() if entry["progress"] and "study" in entry["progress"]]
        return sorted(found, key=lambda row: str(row["study"]))

    def cluster(self) -> dict[str, Any]:
        """Return the service's cluster: `nodes` of Ray and what is used of them, what is `running`, the `queue`."""
        content: dict[str, Any] = self.connection.get("/cluster")
        return content

    def plan(self, study: Study, *, slots: int | None = None) -> dict[str, Any]:
        """Return what a study would run on the service, less what is done there: counts, an estimate, lines of text.

        Raises:
            UserError: the study is wrong, or the service does not allow it. One line.
        """
        content = {"yaml": study.yaml(), "slots": slots, "plugins_zip": _plugins_of(study)}
        answer: dict[str, Any] = self.connection.request("POST", "/plan", json=content, is_safe=True).json()
        return answer

    def submit(
        self, study: Study, *, priority: int = 0, slots: int | None = None, key: str | None = None
    ) -> RemoteStudy:
        """Put a study into the service's queue, and return at once.

        Args:
            study: what to run.
            priority: higher is run first.
            slots: the most trials at a time.
            key: sent again with the same study it makes no second submission; a new one when None.

        Raises:
            UserError: the study is wrong, its name is taken, or the service does not allow it. One line.
        """
        content = {"yaml": study.yaml(), "priority": priority, "slots": slots, "plugins_zip": _plugins_of(study)}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        self.connection.request("POST", "/studies", json=content, headers=headers, is_safe=True)
        return RemoteStudy(self.connection, study.name)

    def launch(
        self, study: Study, *, priority: int = 0, slots: int | None = None, progress: "Told | None" = None
    ) -> dict[str, Any]:
        """Put a study into the queue and wait for its end, as `Study.launch` does; Ctrl-C leaves it to the service.

        Args:
            study: what to run.
            priority: higher is run first.
            slots: the most trials at a time.
            progress: is told what the service says of the study whenever that changes.

        Returns:
            What the service says of it at its end; `state` is `finished` where all went well.
        """
        return self.submit(study, priority=priority, slots=slots).wait(progress)

    def __getitem__(self, name: str) -> RemoteStudy:
        """Return a study by its name; `QueryError` with the possible names where there is none."""
        study = RemoteStudy(self.connection, name)
        try:
            study.state()
        except RemoteError as error:
            if error.status not in (404, 422):
                raise
            raise QueryError(f"study: {name!r} is not in {self.root}; {alternatives(name, self.studies())}") from None
        return study

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the studies, sorted."""
        return iter(self.studies())

    def __len__(self) -> int:
        """Return how many studies there are."""
        return len(self.studies())

    def __contains__(self, name: object) -> bool:
        """Whether there is a study of this name."""
        return name in self.studies()

    def __repr__(self) -> str:
        return f"<results at {self.root}>"


def _plugins_of(study: Study) -> str | None:
    """Return the source of a study's plug-ins as the service takes it; None where it has none."""
    if not study.spec.plugins:
        return None
    return base64.b64encode(PluginBundle.of_modules(study.spec.plugins).zipped()).decode()
