"""What a person writes behind `--value`: `40%` or `0.4` of packets lost, `200ms` of delay."""

from __future__ import annotations

from evac.drivers.settings import parse_duration
from evac.lab.faults import FaultKind


def value_of(kind: FaultKind, text: str | None) -> float:
    """Return a fault's value: a share for loss, seconds for delay, 0 for the others. Raises ValueError."""
    if kind not in (FaultKind.LOSS, FaultKind.DELAY):
        if text is not None:
            raise ValueError(f"{kind} takes no value")
        return 0.0
    if text is None:
        raise ValueError(f"{kind} needs one: {'40%' if kind is FaultKind.LOSS else '200ms'}")
    if kind is FaultKind.DELAY:
        return parse_duration(text).total_seconds()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError("is a share: 40% or 0.4") from None
    if not 0 < share <= 1:
        raise ValueError("is a share between 0 and 1: 40% or 0.4")
    return share
