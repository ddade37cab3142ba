"""evac moves a running system out of a failing region, and proves that it can.

The library's front door is `open`; see `evac.opening`, and `evac.opened` for all that an open estate can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evac.opening import open_estate as open

__all__ = ["open"]


def __getattr__(name: str) -> object:
    """Import the API when it is first asked for: the core alone needs none of what it brings in."""
    if name == "open":
        from evac.opening import open_estate

        return open_estate
    raise AttributeError(f"module {__name__} has no attribute {name}")
