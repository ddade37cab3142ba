"""Quantities carry their unit, and no more digits than anybody reads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from evac.report.words import count, listed, size, span


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.2, "200 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (2.011, "2.01 s"),
        (34.56, "34.6 s"),
        (30, "30 s"),
        (300, "5 min"),
        (303, "5 min 3 s"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
    ],
)
def test_span(seconds: float, says: str) -> None:
    assert span(timedelta(seconds=seconds)) == says


@pytest.mark.parametrize(
    ("number", "says"), [(0, "0 B"), (999, "999 B"), (3100, "3.1 kB"), (48_200, "48 kB"), (7_000_000, "7.0 MB")]
)
def test_size(number: int, says: str) -> None:
    assert size(number) == says


def test_lists_and_counts() -> None:
    assert (listed([]), listed(["a"]), listed(["a", "b"]), listed("abc")) == ("nobody", "a", "a and b", "a, b and c")
    assert (count(1, "write"), count(0, "write")) == ("1 write", "0 writes")
