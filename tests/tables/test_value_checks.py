import datetime
import math

import numpy as np
import pytest

from kd_sweep.tables.schema import EPOCHS
from kd_sweep.tables.value_checks import added, checked, checks_of, finite, moment, text, whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), "0.5", None, True, [1.0], b"1"])
def test_only_finite_numbers_are_results(value: object):
    with pytest.raises(ValueError, match=r"val_accuracy: .* is not a finite number"):
        finite("val_accuracy", value)


def test_numbers_become_plain_floats():
    for value in (0.5, np.float64(0.5), np.float32(0.5)):
        assert finite("x", value) == 0.5
        assert type(finite("x", value)) is float
    assert finite("x", 1) == 1.0


@pytest.mark.parametrize("value", [1.0, "1", True, 2**63, -(2**63) - 1])
def test_only_whole_numbers_of_64_bits_are_counts(value: object):
    with pytest.raises(ValueError, match=r"seed: .* is not a whole number"):
        whole("seed", value)
    assert whole("seed", np.int64(3)) == 3


def test_text_that_utf8_cannot_say_is_replaced():
    assert text("error", "caf\udce9") == "caf?"
    assert text("error", "café") == "café"
    with pytest.raises(ValueError, match=r"host: 1 is not a string"):
        text("host", 1)


def test_times_have_a_zone_or_are_seconds():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert moment("t", datetime.datetime(2024, 1, 1, 2, tzinfo=zone)).isoformat() == "2024-01-01T00:00:00+00:00"
    assert moment("t", 0).isoformat() == "1970-01-01T00:00:00+00:00"
    with pytest.raises(ValueError, match="no time zone"):
        moment("t", datetime.datetime(2024, 1, 1))


def test_added_columns_hold_scalars_and_others_as_json():
    assert [added("x", value) for value in (1, 0.5, "a", True)] == [1, 0.5, "a", True]
    assert added("x", [1, 2]) == "[1, 2]"
    with pytest.raises(ValueError, match=r"'a-b' is not a column name"):
        added("a-b", 1)
    with pytest.raises(ValueError, match="not a finite"):
        added("x", math.nan)


def test_a_row_names_the_column_that_is_wrong():
    checks = checks_of(EPOCHS)
    with pytest.raises(ValueError, match=r"'val_acuracy' is not a column"):
        checked({"val_acuracy": 0.5}, checks)
    with pytest.raises(ValueError, match=r"^pid: 'x'"):
        checked({"pid": "x"}, checks)
    assert checked({"pid": None, "ece": 1}, checks) == {"pid": None, "ece": 1.0}
