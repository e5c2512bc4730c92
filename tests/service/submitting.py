"""How tests submit a study: the fixture `submitted`."""

from collections.abc import Callable

from kd_sweep.service.rows.models import Submission

Submit = Callable[..., Submission]
"""Submit a small study of this name, in this state; more arguments are those of `submit`."""
