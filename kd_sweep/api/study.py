"""A study as a value in Python: read or written down, changed, planned, launched."""

import copy
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_sweep.errors import SpecError, StorageError
from kd_sweep.study.file.load import is_of_plugins, load_named_plugins, override, read_text, spec_of
from kd_sweep.study.file.overrides import put_value
from kd_sweep.study.file.python_values import python_document
from kd_sweep.study.file.yaml_reader import Document, one_line, read_yaml
from kd_sweep.study.file.yaml_writer import yaml_text
from kd_sweep.study.spec import StudySpec

if TYPE_CHECKING:
    from kd_sweep.driver.converge import Outcome
    from kd_sweep.driver.estimate import StudyPlan
    from kd_sweep.driver.events import Progress
    from kd_sweep.storage.root import Location

_NOT_GIVEN: Any = object()


class Study:
    """A study: what a study file describes. It is checked when it is made, and never changes.

    Args:
        content: the keys of a study file with plain Python values, such as ``name="digits"``,
            ``teacher={"epochs": 4}``, ``search={"seed": {"grid": [0, 1]}}``. NumPy's numbers and arrays are
            plain values too.

    Raises:
        SpecError: a value breaks a rule. One line with field, rule, value and what is possible.
    """

    def __init__(self, **content: Any) -> None:
        self._hold(python_document(content))

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Study":
        """Return the study that a study file describes.

        Args:
            path: the YAML file; a frozen ``study.yaml`` is one, too.
            overrides: ``dotted.path=YAML value`` each, as behind ``--set`` on the command line.

        Raises:
            SpecError: one line with rule, value, file and line or override, and what is possible.
        """
        document = read_yaml(read_text(Path(path)), one_line(str(path), len(str(path))))
        override(document, overrides, Path(path).parent)
        return cls._of(document, Path(path).parent)

    @classmethod
    def _of(cls, document: Document, folder: Path | None = None) -> "Study":
        study = cls.__new__(cls)
        study._hold(document, folder)
        return study

    def _hold(self, document: Document, folder: Path | None = None) -> None:
        load_named_plugins(document, folder)
        self._document = document
        self._spec = spec_of(document)
        document.content.pop("provenance", None)  # of a frozen study: where that came from is no setting

    @property
    def name(self) -> str:
        """The name of the study's folder in a results root."""
        return self._spec.name

    @property
    def spec(self) -> StudySpec:
        """The study with every default, as typed fields."""
        return self._spec

    def set(self, key: str | Mapping[str, Any] | None = None, value: Any = _NOT_GIVEN, /, **fields: Any) -> "Study":
        """Return this study with fields replaced, as ``--set`` does: ``study.set("teacher.epochs", 4)``.

        Args:
            key: the dotted name of a field; or a mapping of dotted names to values.
            value: its value, where ``key`` is a name.
            fields: fields at the top, such as ``retries=2``.

        Raises:
            SpecError: there is no such field, or the study that would come of it breaks a rule. One line.
        """
        document = copy.deepcopy(self._document)
        changes = {**_changes(key, value), **fields}
        for name in sorted(changes, key=is_of_plugins, reverse=True):
            if not is_of_plugins(name):
                load_named_plugins(document, None)
            put_value(document, name, python_document(changes[name]), "set")
        return self._of(document)

    def plan(self, root: "Location" = "results", *, slots: int | None = None, probe: bool = False) -> "StudyPlan":
        """Return what the study would run, and how long that would take. Writes nothing.

        Args:
            root: the results root, whose tables say what is done already and how long an epoch takes.
            slots: trials at a time; as many as fit on this machine when None.
            probe: train for some seconds in a temporary folder where the tables have no epochs to go by. Without it
                the images need not be there, nothing is downloaded, and there may be no estimate.

        Raises:
            UserError: the study, its dataset or its models are wrong. One line.
        """
        from kd_sweep.driver.estimate import make_plan

        return make_plan(self._spec, root, slots, probe=probe)

    def launch(
        self, root: "Location" = "results", address: str | None = None, progress: "Progress | None" = None
    ) -> "Outcome":
        """Run the study, or go on with it where it exists already. Prints nothing, and leaves no Ray behind.

        In the main thread SIGINT and SIGTERM, as Ctrl-C or a notebook's stop button, end the run in order: it returns
        with `Outcome.interrupted` set. In another thread Python lets nobody handle signals: they go to whoever has
        them, and the run ends in order when ``progress`` raises.

        Args:
            root: the folder or ``s3://…`` for studies and teachers; made if missing.
            address: a Ray cluster, HOST:PORT; None starts Ray on this machine, and ends it again.
            progress: is told of every event (`kd_sweep.driver.events`), one at a time. What it raises ends the run in
                order, and is raised here then.

        Returns:
            How the run ended; failed trials are in it, and no error.

        Raises:
            UserError: the study, its dataset, its models, the root or the cluster is not what it must be; nothing was
                written. One line.
            StudyLockedError: another driver runs the study.
            StudyStoppedError: a file could not be written, Ray died, or a second signal came. `resume` goes on.
            RayStartError: Ray cannot be started on this machine.
        """
        from kd_sweep.driver.launch import launch

        return launch(self._spec, root, address, progress)

    def yaml(self) -> str:
        """Return the text of a study file that describes this study; comments of a file that was read are not kept."""
        return yaml_text(self._document.content)

    def save(self, path: str | Path) -> None:
        """Write a study file.

        Raises:
            StorageError: something is there already, or the file cannot be written. One line.
        """
        try:
            with Path(path).open("x", encoding="utf-8") as file:
                file.write(self.yaml())
        except FileExistsError:
            raise StorageError(f"{path}: is there already; choose another name, or delete it first") from None
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}") from None

    def __eq__(self, other: object) -> bool:
        """Whether the other is a study that asks for the same."""
        return self._spec == other._spec if isinstance(other, Study) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Study({', '.join(f'{key}={value!r}' for key, value in self._document.content.items())})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.yaml())}</pre>"


def _changes(key: str | Mapping[str, Any] | None, value: Any) -> Mapping[str, Any]:
    """Return what `Study.set` is asked to change, by dotted names."""
    if isinstance(key, str) and value is not _NOT_GIVEN:
        return {key: value}
    if isinstance(key, Mapping) and value is _NOT_GIVEN and all(isinstance(name, str) for name in key):
        return key
    if key is None and value is _NOT_GIVEN:
        return {}
    raise SpecError('set: needs a name and a value, or a mapping of names, such as set("teacher.epochs", 4)')
