"""What every store asks of a commit before it tries it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

VALUE_BYTES_MAX = 1024 * 1024
"""The largest value a store takes."""


def check_commit(*, put: Mapping[str, bytes], delete: Collection[str]) -> None:
    """Assert that a commit is well formed: no key twice, no value too large."""
    both = set(put) & set(delete)
    assert not both, f"a commit writes and deletes {sorted(both)}"
    for key, value in put.items():
        assert len(value) <= VALUE_BYTES_MAX, f"{key} has {len(value)} bytes, at most {VALUE_BYTES_MAX} are kept"
