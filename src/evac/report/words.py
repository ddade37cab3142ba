"""How quantities are written for people: with a unit, and no more digits than anybody reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta


def span(duration: timedelta) -> str:
    """Return a duration: `200 ms`, `2.01 s`, `34.5 s`, `5 min`, `1 h 20 min`."""
    seconds = duration.total_seconds()
    if abs(seconds) < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 10:
        return f"{_short(seconds, 2)} s"
    if abs(seconds) < 60:
        return f"{_short(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _short(number: float, places: int) -> str:
    """Write a number without a fraction that is all zeros."""
    whole, _, fraction = f"{number:.{places}f}".partition(".")
    return f"{whole}.{fraction}" if fraction.strip("0") else whole


def offset(duration: timedelta) -> str:
    """Return a time since the first symptom in seconds, to the millisecond: `1.512`."""
    return f"{duration.total_seconds():.3f}"


def utc(at: datetime) -> str:
    """Return a moment of the wall clock: `2026-03-01 12:00:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count: int) -> str:
    """Return a number of bytes: `12 B`, `3.1 kB`, `48 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while abs(value) >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 10 else f"{value:.1f} {units[0]}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 write`, `3 writes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them: `a`, `a and b`, `a, b and c`."""
    *some, last = [*names] or ["nobody"]
    return f"{', '.join(some)} and {last}" if some else last


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, their columns below one another; the last one is as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
