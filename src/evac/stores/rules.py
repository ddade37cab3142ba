"""What every store asks of a commit before it tries it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from evac.core.errors import Conflict
from evac.ports import COMMIT_WRITES_MAX, VALUE_BYTES_MAX


def check_commit(*, expect: Collection[str], put: Mapping[str, bytes], delete: Collection[str]) -> None:
    """Assert that a commit is well formed: not too many keys, no key twice, no value too large."""
    most = max(len(expect), len(put) + len(delete))
    assert most <= COMMIT_WRITES_MAX, f"a commit of {most} keys, at most {COMMIT_WRITES_MAX} are taken"
    both = set(put) & set(delete)
    assert not both, f"a commit writes and deletes {sorted(both)}"
    for key, value in put.items():
        assert len(value) <= VALUE_BYTES_MAX, f"{key} has {len(value)} bytes, at most {VALUE_BYTES_MAX} are kept"


def check_life(expected: str | None, found: str) -> None:
    """Raise `Conflict` where a commit rests on what was read in another life of the store than the one it is in."""
    if expected is not None and expected != found:
        raise Conflict(f"the store is in another life ({found}) than what was read ({expected}): it was restored")
