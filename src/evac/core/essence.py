"""What of a decision a person would notice: all of it but its grounds, and the figures in its reasons.

Intuition: reasons tell of seconds, counts and shares, which differ each time anybody looks. Two decisions that differ
in nothing else are the same news. A digit that belongs to a name (eu1, us-east-2) is no figure.

What this is not: whether a person is told (`engine.knowledge`), or when it is written (`sharing`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import fields

from evac.core.decision import Ask, Decision
from evac.core.targets import Rejected

_FIGURE = re.compile(r"(?<![\w-])\d[\d.,:]*(?![\w-])")
_GROUNDS = frozenset({"evidence", "symptom_at", "trigger"})


def essence(decision: Decision) -> Hashable:
    """Return what two decisions have in common if to a person they are the same."""
    if isinstance(decision, Ask):
        return "Ask", essence(decision.move), tuple(map(without_figures, decision.reasons))
    named = [f.name for f in fields(decision) if f.name not in _GROUNDS]
    return (type(decision).__name__, *(_noticed(getattr(decision, name)) for name in named))


def without_figures(text: str) -> str:
    """Return a text without its figures."""
    return _FIGURE.sub("", text)


def _noticed(value: object) -> Hashable:
    """What a person would notice of a field: of texts not the figures, of a region that is refused, that it is."""
    if isinstance(value, tuple):
        return tuple(map(_noticed, value))
    if isinstance(value, Rejected):
        return value.region
    assert isinstance(value, Hashable), f"{value!r} is a plain value"
    return without_figures(value) if isinstance(value, str) else value
