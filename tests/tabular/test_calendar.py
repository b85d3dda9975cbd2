"""Calendar arithmetic inside the graph, against Python's own calendar and numpy's."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from trainbox_plugins.onnx_kit import calendar_features
from trainbox_plugins.onnx_kit.session import open_session
from trainbox_plugins.tabular.guest.native import calendar_parts


@pytest.fixture(scope="module")
def graph():
    session = open_session(calendar_features.calendar_graph())
    return lambda seconds: session.run(["parts"], {"seconds": np.asarray(seconds).reshape(-1, 1)})[
        0
    ]


def epoch(*when: int) -> int:
    moment = dt.datetime(*when, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return moment.days * 86_400 + moment.seconds


def test_two_hundred_thousand_moments_agree_with_numpy(graph):
    random = np.random.default_rng(0)
    seconds = random.integers(epoch(1874, 1, 1), epoch(2160, 1, 1), 200_000)
    expected = np.stack(calendar_parts(seconds), axis=1)
    assert np.array_equal(graph(seconds), expected)


def test_every_day_of_four_centuries_agrees_with_python(graph):
    first = dt.date(1874, 1, 1)
    days = [first + dt.timedelta(days=n) for n in range((dt.date(2274, 1, 1) - first).days)]
    got = graph([epoch(d.year, d.month, d.day, 13, 7, 5) for d in days])
    expected = [
        (d.year, d.month, d.day, d.weekday(), 13, d.timetuple().tm_yday,
         (d - dt.date(1970, 1, 1)).days, 13 * 3600 + 7 * 60 + 5)
        for d in days
    ]  # fmt: skip
    assert np.array_equal(got, np.asarray(expected, np.float32))


@pytest.mark.parametrize(
    ("when", "weekday", "day_of_year"),
    [
        ((1970, 1, 1), 3, 1), ((1969, 12, 31, 23, 59, 59), 2, 365), ((2000, 2, 29), 1, 60),
        ((1900, 3, 1), 3, 60), ((2100, 2, 28), 6, 59), ((2024, 12, 31), 1, 366),
        ((1, 1, 1), 0, 1), ((9999, 12, 31, 23, 59, 59), 4, 365),
    ],
)  # fmt: skip
def test_known_days(graph, when, weekday, day_of_year):
    (got,) = graph([epoch(*when)])
    assert tuple(got[:3]) == when[:3]
    assert got[3] == weekday
    assert got[5] == day_of_year


def test_missing_is_nan_in_every_part(graph):
    got = graph([calendar_features.MISSING, 0])
    assert np.isnan(got[0]).all()
    assert not np.isnan(got[1]).any()


@pytest.mark.parametrize("seconds", [-(2**63) + 1, calendar_features.EARLIEST - 1])
def test_times_before_year_one_are_its_beginning(graph, seconds):
    assert np.array_equal(graph([seconds]), graph([calendar_features.EARLIEST]))
    assert graph([seconds])[0, 0] == 1


@pytest.mark.parametrize("seconds", [2**63 - 1, calendar_features.LATEST + 1])
def test_times_after_year_9999_are_its_end(graph, seconds):
    assert np.array_equal(graph([seconds]), graph([calendar_features.LATEST]))
    assert graph([seconds])[0, 0] == 9999


def test_no_rows(graph):
    assert graph(np.zeros(0, np.int64)).shape == (0, len(calendar_features.PARTS))
