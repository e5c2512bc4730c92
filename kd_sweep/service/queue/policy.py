"""The policy of a server: what a submitted study may name."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kd_sweep.service.service_errors import PolicyError
from kd_sweep.study.space.plan import num_points
from kd_sweep.study.space.points import is_finite
from kd_sweep.study.space.repeats import num_repeats
from kd_sweep.study.spec import StudySpec

_PUBLISHED = "pretrained"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Policy:
    """What the operator of a server allows."""

    allow_plugins: bool = False
    """Whether studies may bring code of their own, which runs as the server's user."""
    data_folders: tuple[Path, ...] = ()
    """Images and weights that a study names by a path must lie below one of them."""
    allow_downloads: bool = False
    """Whether datasets and published weights may be downloaded."""
    allow_private_webhooks: bool = False
    """Whether webhooks may lead to this machine and to networks that the internet does not reach."""
    max_slots: int | None = None
    """The most trials of a study at a time."""
    max_trials: int | None = None
    """The most trials that a study may have."""

    def as_json(self) -> dict[str, Any]:
        """Return it as values of JSON, of which `of_json` makes it again."""
        return asdict(self) | {"data_folders": [str(folder) for folder in self.data_folders]}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Policy":
        """Return the policy that `as_json` wrote down."""
        return cls(**{**content, "data_folders": tuple(map(Path, content["data_folders"]))})

    def check(self, spec: StudySpec) -> None:
        """Raise `PolicyError` for the first thing that the study names and this server does not allow. One line."""
        if spec.plugins:
            self.check_plugins("plugins", ", ".join(spec.plugins))
        self._check_downloads(spec)
        self._check_paths(spec)
        if self.max_trials is not None and (number := num_trials(spec)) > self.max_trials:
            raise PolicyError(
                f"search: asks for {number} trials; this server allows {self.max_trials} (or budget.max_trials: "
                f"{self.max_trials})"
            )

    def check_plugins(self, field: str, what: str) -> None:
        """Raise `PolicyError` where plug-ins are not allowed; ``what`` names them as ``field`` has them."""
        if not self.allow_plugins:
            raise PolicyError(
                f"{field}: {what} would run code of its own on this server, which it does not allow; possible: what is "
                "built in (the server's operator can allow it: kd-sweep serve --allow-plugins)"
            )

    def check_slots(self, slots: int | None) -> None:
        """Raise `PolicyError` for a number of slots that is none, or more than this server gives to one study."""
        if slots is not None and slots < 1:
            raise PolicyError(f"slots: {slots} is not at least 1")
        if slots is not None and self.max_slots is not None and slots > self.max_slots:
            raise PolicyError(f"slots: {slots} is more than the {self.max_slots} that this server gives to one study")

    def _check_downloads(self, spec: StudySpec) -> None:
        if self.allow_downloads:
            return
        fields = {"data.download": spec.data.origin.get("download") is True}
        fields |= {field: weights == _PUBLISHED for field, weights in _weights(spec).items()}
        if wanted := next((field for field, is_wanted in fields.items() if is_wanted), None):
            raise PolicyError(
                f"{wanted}: needs a download, which this server does not allow; possible: a copy below a folder "
                "that it allows (its operator can allow it: kd-sweep serve --allow-downloads)"
            )

    def _check_paths(self, spec: StudySpec) -> None:
        named = {f"data.{key}": value for key, value in spec.data.origin.items() if isinstance(value, str)}
        named |= {field: path for field, path in _weights(spec).items() if path is not None and path != _PUBLISHED}
        if spec.warm_start is not None and not _NAME.fullmatch(spec.warm_start.study):
            named["warm_start.study"] = spec.warm_start.study
        for field, path in named.items():
            self._check_path(field, path)

    def _check_path(self, field: str, path: str) -> None:
        folders = [str(folder) for folder in self.data_folders]
        if not Path(path).is_absolute():
            raise PolicyError(
                f"{field}: {path!r} is no absolute path, which the server could find; "
                f"possible: below {' or '.join(folders) or 'a folder of kd-sweep serve --data'}"
            )
        resolved = Path(path).resolve()
        if not any(resolved.is_relative_to(folder.resolve()) for folder in self.data_folders):
            raise PolicyError(
                f"{field}: {path} lies below no folder that this server allows; "
                f"possible: {', '.join(folders) or 'none (its operator names them: kd-sweep serve --data DIR)'}"
            )


def _weights(spec: StudySpec) -> dict[str, str | None]:
    """Return the weights of every network that the study names, by the field that names them."""
    entries = {f"teachers[{index}].weights": entry.learner.weights for index, entry in enumerate(spec.teachers)}
    return {"teacher.weights": spec.teacher.weights, "student.weights": spec.student.weights, **entries}


def num_trials(spec: StudySpec) -> int:
    """Return how many trials a study asks for, at most."""
    points, asked = num_points(spec), spec.sampler.num_asked
    if asked is not None:
        points = asked if is_finite(spec) else min(points, asked)
    number = points * num_repeats(spec)
    return number if spec.budget.max_trials is None else min(number, spec.budget.max_trials)
