"""Figures in words: one rule for each, whoever shows them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import format as shown

NOON = time.mktime((2026, 3, 10, 12, 0, 0, 0, 0, -1))
YESTERDAY = time.mktime((2026, 3, 9, 14, 7, 31, 0, 0, -1))


@pytest.mark.parametrize(
    ("of", "value", "words"),
    [
        (shown.data_size, None, ""),
        (shown.data_size, 0, "0 MB"),
        (shown.data_size, 1, "1 kB"),
        (shown.data_size, 12_000, "12 kB"),
        (shown.data_size, 999_499, "999 kB"),
        (shown.data_size, 999_500, "1.0 MB"),
        (shown.data_size, 4_200_000, "4.2 MB"),
        (shown.data_size, 9_949_999, "9.9 MB"),
        (shown.data_size, 9_950_000, "10 MB"),
        (shown.data_size, 132_000_000, "132 MB"),
        (shown.data_size, 600_000_000, "600 MB"),
        (shown.data_size, 999_499_999, "999 MB"),
        (shown.data_size, 999_500_000, "1.0 GB"),
        (shown.data_size, 11_400_000_000, "11.4 GB"),
        (shown.data_size, 2**34, "17.2 GB"),
        (shown.data_size, 1_250_000_000_000, "1,250.0 GB"),
        (shown.score_figure, None, "—"),
        (shown.score_figure, 0.0, "0.00"),
        (shown.score_figure, 1e-4, "0.01"),
        (shown.score_figure, 0.966, "4.83"),
        (shown.score_figure, 0.9996, "4.99"),
        (shown.score_figure, 1 - 1e-12, "5.00"),
        (shown.of_five, None, "—"),
        (shown.of_five, 0.8, "4.00/5"),
        (shown.of_five, 1.0, "5.00/5"),
        (shown.gb, None, "—"),
        (shown.gb, 0, "0.0"),
        (shown.gb, 600_000_000, "0.6"),
        (shown.gb, 11_400_000_000, "11.4"),
        (shown.energy, 0, "0.0 Wh"),
        (shown.energy, 9.96, "10 Wh"),
        (shown.energy, 138.4, "138 Wh"),
        (shown.energy, 999.6, "1.00 kWh"),
        (shown.energy, 1410, "1.41 kWh"),
        (shown.parameters, 134_515_008, "135 M"),
        (shown.parameters, 1_720_574_976, "1.7 B"),
        (shown.duration, None, ""),
        (shown.duration, -1, ""),
        (shown.duration, 0, "0 s"),
        (shown.duration, 99, "99 s"),
        (shown.duration, 99.5, "2 min"),
        (shown.duration, 1560, "26 min"),
        (shown.duration, 5940, "99 min"),
        (shown.duration, 11_100, "3 h 05"),
        (shown.duration, 187_200, "2 d 4 h"),
        (shown.percent, 0, "0 %"),
        (shown.percent, 0.589, "58 %"),
        (shown.percent, 0.999, "99 %"),
        (shown.percent, 1, "100 %"),
        (shown.share, 0, "0 %"),
        (shown.share, 0.001, "<1 %"),
        (shown.share, 0.126, "13 %"),
        (shown.share, 0.996, ">99 %"),
        (shown.share, 1, "100 %"),
        (shown.figure, 0, "0.0000"),
        (shown.figure, 7.1e-05, "7.1e-05"),
        (shown.figure, 0.41888, "0.4189"),
        (shown.figure, 2.5, "2.500"),
        (shown.figure, 12.309, "12.31"),
        (shown.listed, [], ""),
        (shown.listed, ["a"], "a"),
        (shown.listed, ["a", "b", "c"], "a, b and c"),
        (shown.clock, NOON, "12:00"),
        (shown.weekday, NOON, "Tue"),
    ],
)
def test_a_figure_in_words(of: Callable[[object], str], value: object, words: str) -> None:
    assert of(value) == words


def test_figures_of_two_values() -> None:
    assert shown.gb_within(12.11e9, 0.32e9) == "12.1 ± 0.3"
    assert shown.gb_within(0.4e9, 1e6) == "0.4 ± 0.1"
    assert (shown.plural(1, "job"), shown.plural(1204, "job")) == ("1 job", "1,204 jobs")
    assert shown.clock(YESTERDAY, seconds=True) == "14:07:31"


def test_a_moment_of_another_day_has_its_day() -> None:
    assert (shown.moment(YESTERDAY, NOON), shown.when(YESTERDAY, NOON)) == ("9 Mar 14:07", "9 Mar")
    assert (shown.moment(NOON, NOON + 60), shown.when(NOON, NOON + 60)) == ("12:00", "12:00")
    assert (shown.moment(None), shown.when(None)) == ("", "")


@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=2).map(sorted))
def test_a_larger_size_is_never_shown_as_a_smaller_one(pair: list[int]) -> None:
    units = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

    def read(words: str) -> float:
        value, unit = words.split()
        return float(value.replace(",", "")) * units[unit]

    less, more = (read(shown.data_size(count)) for count in pair)
    assert less <= more
    assert abs(more - pair[1]) <= max(999, pair[1] * 0.06)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (10.0, 40.0, "10–40 s"),
        (50.0, 185.0, "50 s–3 min"),
        (240.0, 540.0, "4–9 min"),
        (241.0, 250.0, "4 min"),
        (5400.0, 12_000.0, "90 min–3 h 20"),
        (7200.0, 12_000.0, "2 h 00–3 h 20"),
    ],
)
def test_a_range_of_durations_says_its_unit_once(low: float, high: float, text: str) -> None:
    assert shown.duration_range(low, high) == text
