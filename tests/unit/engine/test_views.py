"""A view tells what was seen by age, and reads as instants on the reader's own clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.core.errors import EvacError
from evac.core.estate import ComponentId, RegionId, ServiceId
from evac.core.observation import Heartbeat, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.engine.views import decode_view, encode_view, view_key

HERE, THERE = RegionId("us-west-2"), RegionId("us-east-1")
spans = st.timedeltas(timedelta(), timedelta(hours=1))
names = st.text(max_size=8)
maybe_ints = st.none() | st.integers(0, 2**62)

states = st.builds(
    MemberState,
    role=st.sampled_from(MemberRole),
    writable=st.booleans(),
    timeline=maybe_ints,
    position=maybe_ints,
    term=maybe_ints,
    upstream=st.none() | st.just(THERE),
    streaming=st.booleans(),
    stream_silence=st.none() | spans,
    lag=st.none() | spans,
    lag_bytes=maybe_ints,
    sync_standbys=st.sampled_from([(), (HERE,), (HERE, THERE)]),
    sync_acks=st.integers(0, 3),
    free_disk=st.none() | st.floats(0, 1),
    detail=st.dictionaries(names, st.none() | st.integers() | names | st.booleans()),
)


def test_instants_are_those_of_the_reader() -> None:
    seen = Probed(
        at=timedelta(seconds=99.8),
        vantage=HERE,
        service=ServiceId("shop"),
        region=THERE,
        ok=False,
        took=timedelta(seconds=1),
        reason="no answer in 1.0 s",
        as_client=True,
    )
    record = encode_view(HERE, [seen], now=timedelta(seconds=100))
    heartbeat, read = decode_view(record, now=timedelta(seconds=7))
    assert heartbeat == Heartbeat(at=timedelta(seconds=7), region=HERE)
    assert isinstance(read, Probed)
    assert read.at == timedelta(seconds=6.8)
    assert (read.reason, read.took, read.as_client, read.ok) == (seen.reason, seen.took, True, False)


@given(st.lists(st.tuples(spans, st.none() | states, names), max_size=4))
def test_members_come_back_as_they_were_oldest_first(told: list[tuple[timedelta, MemberState | None, str]]) -> None:
    now = timedelta(hours=2)
    seen: list[Observation] = [
        MemberSeen(at=now - age, component=ComponentId("orders-db"), region=HERE, state=state, reason=reason)
        for age, state, reason in told
    ]
    assert list(decode_view(encode_view(HERE, seen, now=now), now=now)[1:]) == sorted(seen, key=lambda s: s.at)


def test_a_quiet_interval_is_a_small_record() -> None:
    assert len(encode_view(HERE, [], now=timedelta())) < 80
    assert decode_view(encode_view(HERE, [], now=timedelta()), now=timedelta()) == (
        Heartbeat(at=timedelta(), region=HERE),
    )


def test_a_record_is_a_heartbeat_itself_so_that_one_among_what_was_seen_adds_nothing() -> None:
    seen = [Heartbeat(at=timedelta(), region=HERE)]
    assert encode_view(HERE, seen, now=timedelta()) == encode_view(HERE, [], now=timedelta())


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"format":2}', "format 2"),
        (b'{"format":1,"region":"r","probed":[[1]],"members":[]}', "cannot be read"),
        (b'{"format":1,"region":"r","probed":[],"members":[["c","r",1,"",{"role":"king"}]]}', "cannot be read"),
    ],
)
def test_another_format_is_refused(record: bytes, says: str) -> None:
    with pytest.raises(EvacError, match=says):
        decode_view(record, now=timedelta())


def test_key() -> None:
    assert view_key(HERE) == "views/us-west-2"
