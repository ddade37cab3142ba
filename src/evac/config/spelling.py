"""What somebody probably meant when they wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(name: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` as a part of a sentence, or nothing when no known name is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def listed(names: Iterable[str]) -> str:
    """Return names as a list for people, or `none`."""
    return ", ".join(names) or "none"
