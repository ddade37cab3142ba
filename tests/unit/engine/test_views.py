"""A view tells what was seen by age, and reads as instants on the reader's own clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.core.errors import EvacError
from evac.core.estate import ComponentId, RegionId, ServiceId
from evac.core.observation import Carried, Heartbeat, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.engine.clock_filter import ClockFilter
from evac.engine.codec import PACKED_ABOVE
from evac.engine.views import decode_view, encode_view, next_view, view_key

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


def written(seen: Iterable[Observation], *, now: timedelta, life: str = "a") -> bytes:
    """A record of HERE."""
    return encode_view(HERE, seen, now=now, life=life)


def read_anew(record: bytes, *, now: timedelta) -> tuple[Observation, ...]:
    """A record as somebody reads it who has read none before."""
    return decode_view(record, now=now, clocks=ClockFilter())


@pytest.mark.parametrize("answered", [True, False])
def test_instants_are_those_of_the_reader(answered: bool) -> None:
    seen = Probed(
        at=timedelta(seconds=99.8),
        vantage=HERE,
        service=ServiceId("shop"),
        region=THERE,
        ok=False,
        took=timedelta(seconds=1),
        reason="no answer in 1.0 s",
        as_client=True,
        answered=answered,
    )
    record = written([seen], now=timedelta(seconds=100))
    heartbeat, read = read_anew(record, now=timedelta(seconds=7))
    assert heartbeat == Heartbeat(at=timedelta(seconds=7), region=HERE)
    assert isinstance(read, Probed)
    assert read.at == timedelta(seconds=6.8)
    assert (read.reason, read.took, read.as_client, read.ok) == (seen.reason, seen.took, True, False)
    assert read.answered is answered


@given(st.lists(st.tuples(spans, st.none() | states, names), max_size=4))
def test_members_come_back_as_they_were_oldest_first(told: list[tuple[timedelta, MemberState | None, str]]) -> None:
    now = timedelta(hours=2)
    seen: list[Observation] = [
        MemberSeen(at=now - age, component=ComponentId("orders-db"), region=HERE, state=state, reason=reason)
        for age, state, reason in told
    ]
    assert list(read_anew(written(seen, now=now), now=now)[1:]) == sorted(seen, key=lambda s: s.at)


def test_a_quiet_interval_is_a_small_record() -> None:
    assert len(encode_view(HERE, [], now=timedelta(days=300), life="0123abcd")) < 120
    assert read_anew(written([], now=timedelta()), now=timedelta()) == (Heartbeat(at=timedelta(), region=HERE),)


def test_a_record_is_a_heartbeat_itself_so_that_one_among_what_was_seen_adds_nothing() -> None:
    seen = [Heartbeat(at=timedelta(), region=HERE)]
    assert written(seen, now=timedelta()) == written([], now=timedelta())


def test_what_the_store_held_up_is_read_as_old_as_it_is_and_what_follows_comes_after_it() -> None:
    clocks = ClockFilter()
    told = [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=2.5)]
    delays = [timedelta(seconds=0.1), timedelta(seconds=1.4), timedelta(seconds=0.1)]
    seen = [MemberSeen(at=at, component=ComponentId("orders-db"), region=HERE, state=None, reason="") for at in told]
    read = [
        decode_view(written([one], now=at), now=at + delay, clocks=clocks)
        for one, at, delay in zip(seen, told, delays, strict=True)
    ]
    assert [[o.at for o in each] for each in read] == [[at + delays[0]] * 2 for at in told]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"format":1}', "format 1"),
        (b'{"format":4,"region":"r","life":"a","sent":1,"probed":[[1]],"members":[]}', "cannot be read"),
        (
            b'{"format":4,"region":"r","life":"a","sent":1,"probed":[],"members":[["c","r",1,"",{"role":"king"}]]}',
            "read",
        ),
        (b'{"format":4,"region":"r","life":"a","sent":"now","probed":[],"members":[]}', "cannot be read"),
    ],
)
def test_another_format_is_refused(record: bytes, says: str) -> None:
    with pytest.raises(EvacError, match=says):
        read_anew(record, now=timedelta())


def test_key() -> None:
    assert view_key(HERE) == "views/us-west-2"


def test_what_is_well_is_told_by_moment_and_names_and_comes_back_whole() -> None:
    seen = [
        Probed(
            at=timedelta(seconds=9 + later),
            vantage=HERE,
            service=ServiceId(f"s{n}"),
            region=THERE,
            ok=n % 50 != 7,
            took=timedelta(),
            reason="" if n % 50 != 7 else "not well",
            as_client=as_client,
        )
        for later in (0, 0.5)
        for as_client in (False, True)
        for n in range(1000)
    ]
    record = written(seen, now=timedelta(seconds=10))
    assert len(record) < 10 * len(seen)
    _, *read = read_anew(record, now=timedelta(seconds=10))
    assert len(read) == len(seen)
    assert set(read) == set(seen)


def test_what_real_clients_met_comes_back_as_it_was() -> None:
    seen = Carried(
        at=timedelta(seconds=9),
        vantage=HERE,
        service=ServiceId("shop"),
        region=THERE,
        window=timedelta(seconds=1.5),
        requests=400,
        failed=7,
    )
    assert read_anew(written([seen], now=timedelta(seconds=10)), now=timedelta(seconds=10))[1:] == (seen,)


@pytest.mark.parametrize(
    ("at_once", "bytes_max", "counts"),
    [(10, 10**6, [7]), (3, 10**6, [3, 3, 1]), (10, 400, [3, 4]), (10, 1, [1] * 7)],
)
def test_a_view_holds_as_much_as_it_may_and_the_next_goes_on(at_once: int, bytes_max: int, counts: list[int]) -> None:
    seen = [
        Probed(
            at=timedelta(seconds=n),
            vantage=HERE,
            service=ServiceId(f"service-{n}"),
            region=THERE,
            ok=False,
            took=timedelta(seconds=1),
            reason="no answer in 1.0 s",
        )
        for n in range(7)
    ]
    rest, sizes = list(seen), list[int]()
    told: list[Observation] = []
    while rest:
        record, count = next_view(HERE, rest, now=timedelta(seconds=9), life="a", at_once=at_once, bytes_max=bytes_max)
        told += read_anew(record, now=timedelta(seconds=9))[1:]
        rest, sizes = rest[count:], [*sizes, count]
    assert sizes == counts
    assert told == seen


def test_a_large_view_is_packed_and_what_is_said_often_is_one_value() -> None:
    seen = [
        Probed(
            at=timedelta(seconds=5), vantage=HERE, service=ServiceId(f"service-{n}"), region=THERE, ok=True,
            took=timedelta(),
        )
        for n in range(6000)
    ]  # fmt: skip
    record = written(seen, now=timedelta(seconds=9))
    assert len(record) < PACKED_ABOVE < sum(len(s.service) for s in seen)
    _, *back = read_anew(record, now=timedelta(seconds=9))
    assert back == seen
    assert len({id(b.at) for b in back}) == 1


def test_a_packed_view_that_is_damaged_is_refused() -> None:
    with pytest.raises(EvacError, match="cannot be read"):
        read_anew(b"xdamaged", now=timedelta(seconds=9))
