"""No bit of a run's record can be changed without being found: not on file, not in the store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from evac.core.errors import NotThere
from evac.engine.verifying import parse_record, verify, write_record
from fakes.evidence import signed_run
from fakes.shapes import shapes

RECORDS = {shape.name: signed_run(shape) for shape in shapes()}
SHORTEST = min(RECORDS.values(), key=lambda record: len(write_record(record)))


def flipped(data: bytes, bit: int) -> bytes:
    """Return the same bytes, one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(some.data())
def test_a_flipped_bit_on_file_is_found(data: some.DataObject) -> None:
    written = write_record(RECORDS[data.draw(some.sampled_from(sorted(RECORDS)))])
    bit = data.draw(some.integers(min_value=0, max_value=8 * len(written) - 1))
    try:
        record = parse_record(flipped(written, bit), name="a file")
    except NotThere:
        return  # it is not even taken for a record
    assert not verify(record).good


@given(some.data())
def test_a_flipped_bit_in_the_store_is_found(data: some.DataObject) -> None:
    record = RECORDS[data.draw(some.sampled_from(sorted(RECORDS)))]
    which = data.draw(some.integers(min_value=0, max_value=len(record.entries) - 1))
    bit = data.draw(some.integers(min_value=0, max_value=8 * len(record.entries[which]) - 1))
    entries = list(record.entries)
    entries[which] = flipped(entries[which], bit)
    assert not verify(replace(record, entries=tuple(entries))).good


@pytest.mark.parametrize("which", range(len(SHORTEST.entries)))
def test_every_single_bit_of_a_run_in_the_store_counts(which: int) -> None:
    entry = SHORTEST.entries[which]
    for bit in range(8 * len(entry)):
        entries = (*SHORTEST.entries[:which], flipped(entry, bit), *SHORTEST.entries[which + 1 :])
        assert not verify(replace(SHORTEST, entries=entries)).good, f"bit {bit} of entry {which + 1}"
