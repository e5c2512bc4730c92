"""A study of a service: its tables, its trials, how it stands, and what can be asked for it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa

from kd_sweep.client.service_connection import Connection
from kd_sweep.errors import QueryError, RemoteError, alternatives

if TYPE_CHECKING:
    import pandas

Told = Callable[[dict[str, Any]], None]
"""Is told what the service says of a study."""
ENDED = ("finished", "finished_with_failures", "budget_used", "failed", "cancelled", "paused")
"""States in which nothing happens any more unless somebody asks for it."""
_POLL_S = 1.0


def _text(value: Any) -> str:
    """Return a parameter's value as a query of HTTP has it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class RemoteTables:
    """Tables of a service's studies: of one, or of all.

    Args:
        connection: to the service.
        study: its name; all when None.
    """

    def __init__(self, connection: Connection, study: str | None) -> None:
        self.connection = connection
        self._study = study

    @property
    def root(self) -> str:
        """The service's URL."""
        return self.connection.url

    def table(self, name: str) -> pa.Table:
        """Return a whole table (``studies``, ``trials``, ``epochs``, ``teachers``, ``notes``) as Arrow.

        Raises:
            RemoteError: there is no such table, or there are no results yet.
        """
        return self.connection.table(f"/tables/{name}", study=self._study)

    def for_views(self) -> Self:
        """Return the same results: a service sends tables whole."""
        return self

    def configurations(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield study, id and configuration of each trial."""
        columns = self.table("trials").select(["study", "trial_id", "config"]).columns
        yield from zip(*(column.to_pylist() for column in columns), strict=True)

    def pandas(self, name: str) -> "pandas.DataFrame":
        """Return a whole table as a pandas frame; errors as `table`. Needs pandas, which kd_sweep does not install."""
        frame: pandas.DataFrame = self.table(name).to_pandas()
        return frame

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Return the answer to one SQL statement (DuckDB's dialect) over the five tables, asked there.

        Args:
            query: the statement; ``$name`` stands for a parameter.
            parameters: values of the parameters.

        Raises:
            QueryError: wrong SQL, SQL that writes, or more than the service gives to a statement. One line.
        """
        content = {"query": query, "parameters": dict(parameters or {}), "study": self._study}
        return self.connection.asked("/sql", content)

    def view(self, name: str, **parameters: Any) -> pa.Table:
        """Return the answer to a named query of docs/queries.md, asked there, as `StudyResults.view`.

        Args:
            name: such as ``leaderboard`` or ``bands``.
            parameters: of the query; several values as a list.

        Raises:
            QueryError: a parameter is unknown, missing or wrong. One line.
            RemoteError: there is no such query, or there are no results yet.
        """
        of_study = "" if self._study is None else f"/studies/{self._study}"
        return self.connection.table(f"{of_study}/queries/{name}", **{key: _text(v) for key, v in parameters.items()})

    def select(self, study: str | None = None) -> dict[str, "RemoteStudy"]:
        """Return each study with results by its name, or the named one; `QueryError` with the possible names."""
        names = self.table("studies")["study"].to_pylist()
        if study is not None and study not in names:
            raise QueryError(f"study: {study!r} is not in {self.root}; {alternatives(study, names)}")
        return {name: RemoteStudy(self.connection, name) for name in sorted(names) if study in (None, name)}

    def studies(self) -> list[str]:
        """Return the names of the studies with results, sorted."""
        return list(self.select())


class RemoteStudy(RemoteTables):
    """One study of a service: what it asks for may still wait in the queue."""

    def __init__(self, connection: Connection, name: str) -> None:
        super().__init__(connection, name)
        self.name = name
        """Of the study."""

    def state(self) -> dict[str, Any]:
        """Return what the service says of the study: `state`, `waiting`, `priority`, `progress`, who submitted it."""
        content: dict[str, Any] = self.connection.get(f"/studies/{self.name}")
        return content

    def status(self) -> list[dict[str, Any]]:
        """Return how far it has come, as `Results.status` does; empty before its first results."""
        progress = self.state()["progress"]
        return [progress] if progress else []

    def yaml(self) -> str:
        """Return the study file as it was submitted."""
        return str(self.connection.request("GET", f"/studies/{self.name}/file").text)

    def trial(self, trial_id: str) -> dict[str, Any]:
        """Return a trial's row, with its configuration as a dictionary, by its id or an unequivocal beginning of it."""
        content: dict[str, Any] = self.connection.get(f"/studies/{self.name}/trials/{trial_id}")
        return content

    def epochs(self, trial_id: str) -> pa.Table:
        """Return a trial's rows of the `epochs` table, in order."""
        return self.connection.table(f"/studies/{self.name}/trials/{trial_id}/epochs")

    def files(self) -> dict[str, int]:
        """Return the bytes of each file of the study, by its path."""
        listed = self.connection.get(f"/studies/{self.name}/files")["files"]
        return {file["path"]: file["bytes"] for file in listed}

    def file(self, path: str) -> bytes:
        """Return the content of a file."""
        return bytes(self.connection.request("GET", f"/studies/{self.name}/files/{path}").content)

    def attention(self, trial_id: str, images: int = 8, epoch: Literal["last", "best"] = "last") -> bytes:
        """Return the sheet that `kd-sweep attention` draws, as a PNG, of the student after an epoch."""
        path = f"/studies/{self.name}/trials/{trial_id}/attention.png"
        return bytes(self.connection.request("GET", path, parameters={"images": images, "epoch": epoch}).content)

    def log(self, after: str | None = None) -> dict[str, Any]:
        """Return what its drivers have printed: `text`, its end or what came behind a cursor, and the `next` one."""
        content: dict[str, Any] = self.connection.get(f"/studies/{self.name}/logs", after=after)
        return content

    def pause(self) -> dict[str, Any]:
        """Stop its driver in order, or keep it from starting; nothing is lost. Returns `state`, as the others do."""
        return self._change({"wanted": "pause"})

    def resume(self) -> dict[str, Any]:
        """Put it back into the queue."""
        return self._change({"wanted": "run"})

    def cancel(self) -> dict[str, Any]:
        """Take it out of the queue; what is done stays."""
        return self._change({"wanted": "cancel"})

    def set_priority(self, priority: int) -> dict[str, Any]:
        """Change how early it is run."""
        return self._change({"priority": priority})

    def set_slots(self, slots: int | None) -> dict[str, Any]:
        """Change how many of its trials run at a time; None: what its study file says."""
        return self._change({"slots": slots})

    def retry(self) -> dict[str, Any]:
        """Run its failed trials again."""
        return self._post("retry", None)

    def extend(self, *overrides: str) -> dict[str, Any]:
        """Run more of it: ``study.extend("search.seed.grid=[0,1,2]")``, as behind `--set`."""
        return self._post("extend", {"overrides": list(overrides)})

    def clone(self, name: str, *overrides: str) -> "RemoteStudy":
        """Submit another study like it."""
        self._post("clone", {"name": name, "overrides": list(overrides)})
        return RemoteStudy(self.connection, name)

    def delete(self) -> None:
        """Delete it with its results; teachers stay."""
        self.connection.request("DELETE", f"/studies/{self.name}")

    def wait(self, progress: Told | None = None, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait until nothing happens with the study any more, and return what the service says of it then.

        Args:
            progress: is told what the service says of it, whenever that changes.
            timeout_s: after which `RemoteError` is raised; the study goes on.
        """
        end, before = None if timeout_s is None else time.monotonic() + timeout_s, None
        while True:
            content = self.state()
            if progress is not None and content != before:
                progress(content)
            if content["state"] in ENDED or (not content["is_submitted"] and content["state"] != "running"):
                return content
            if end is not None and time.monotonic() > end:
                raise RemoteError(f"study: {self.name!r} is {content['state']} after {timeout_s:g} s")
            before = content
            time.sleep(_POLL_S)

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what changes of the study, as kind and content, until the connection ends."""
        with self.connection.stream("/events", study=self.name) as answer:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    yield kind, json.loads(line.removeprefix("data: "))

    def __repr__(self) -> str:
        return f"<study {self.name} at {self.root}>"

    def _change(self, content: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.connection.request("PATCH", f"/studies/{self.name}", json=content).json()
        return answer

    def _post(self, what: str, content: Mapping[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self.connection.request("POST", f"/studies/{self.name}/{what}", json=content).json()
        return answer
