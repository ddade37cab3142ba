"""What a simulation is held to have broken.

What this is not: the finding of it (`invariants`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant that did not hold, at a moment of a simulation."""

    rule: str
    """Its name in `docs/design/safety.md` 8."""
    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.at_s:.3f} s: {self.what}"
