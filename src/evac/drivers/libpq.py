"""What libpq says when something went wrong: several lines, of which some only go on about another one.

What this is not: a judgement on the error. That goes by its SQLSTATE, or by where it came from.
"""

from __future__ import annotations

_GOES_ON = ("\t", "DETAIL:", "HINT:")


def lines_of(said: str) -> list[str]:
    """Return the lines that stand by themselves, oldest first."""
    return [line for line in said.strip().splitlines() if not line.startswith(_GOES_ON)]
