"""Views: what an agent saw since it last told, as one compact record under `views/<region>`.

Intuition: two machines do not share a clock, but both can count how long ago something was. So a record carries ages,
measured against the moment it was published, and its reader sets them against that moment on its own clock, as well as
that can be known (`clock_filter`): late by the store's delay at most.

The record itself is the region's heartbeat: it is published only while the agent can act in its region and reach the
store. A reader that finds a record it has not seen written (after a start) knows nothing of its age, and must not take
it for a heartbeat.

What an observer found well is told by the moment and the region, with the names only: thousands of services are well
at once, and a value of the store has a bound (`ports.Store`).

A leader holds what tens of thousands of members and targets said last, so what one record says many times (a moment, a
name, a reason) is one value for all whom it is said of.

What this is not: a history. Each record replaces the one before; the detector keeps what matters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from itertools import islice
from typing import Any

from evac.core.errors import EvacError
from evac.core.estate import RegionId
from evac.core.making import maker
from evac.core.observation import (
    Carried,
    Heartbeat,
    Instant,
    Json,
    MemberRole,
    MemberSeen,
    MemberState,
    Observation,
    Probed,
)
from evac.engine.clock_filter import ClockFilter
from evac.engine.codec import packed, unpacked

FORMAT = 4
TOLD_AT_ONCE = 5000
"""Observations in one view; what is more follows in the next, at once: each view stands for itself."""
VIEW_BYTES_MAX = 512 * 1024
"""A view is at most so large, unless a single observation is: half of what a store takes."""
PREFIX = "views/"
_MICROSECOND = timedelta(microseconds=1)
_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_make_probed = maker(Probed)
_make_member = maker(MemberSeen)
_make_state = maker(MemberState)
_NO_DETAIL: Mapping[str, Json] = {}
_UNLESS_SAID: Mapping[str, object] = {f.name: f.default for f in fields(MemberState)} | {"detail": _NO_DETAIL}
_one: Callable[[Any], Any] = sys.intern


def view_key(region: RegionId) -> str:
    """Return the store's key of a region's view."""
    return f"{PREFIX}{region}"


def next_view(
    region: RegionId,
    telling: Collection[Observation],
    *,
    now: Instant,
    life: str,
    at_once: int = TOLD_AT_ONCE,
    bytes_max: int = VIEW_BYTES_MAX,
) -> tuple[bytes, int]:
    """Return the record that tells the first of these observations, and how many of them: as many as it may hold."""
    count = min(len(telling), at_once)
    while True:
        record = encode_view(region, islice(telling, count), now=now, life=life)
        if len(record) <= bytes_max or count <= 1:
            return record, count
        count //= 2


def encode_view(region: RegionId, observations: Iterable[Observation], *, now: Instant, life: str) -> bytes:
    """Return the record of what the agent of `region` saw, published at `now` on its own clock, which `life` names."""
    probed: list[list[object]] = []
    well: dict[tuple[object, ...], list[str]] = {}
    carried: list[list[object]] = []
    members: list[list[object]] = []
    for seen in observations:
        match seen:
            case Probed():
                assert seen.vantage == region, "an agent tells what it saw itself"
                age, took = _us(now - seen.at), _us(seen.took)
                if seen.ok and not seen.took and not seen.reason:
                    well.setdefault((seen.region, age, seen.as_client), []).append(seen.service)
                    continue
                row = [seen.service, seen.region, age, took, seen.ok, seen.as_client, seen.reason]
                probed.append([*row, True] if seen.answered else row)
            case Carried():
                age, window = _us(now - seen.at), _us(seen.window)
                carried.append([seen.service, seen.region, age, window, seen.requests, seen.failed])
            case MemberSeen():
                state = None if seen.state is None else _plain(seen.state)
                members.append([seen.component, seen.region, _us(now - seen.at), seen.reason, state])
            case Heartbeat():  # pragma: no branch (the union is closed)
                assert seen.region == region, "the record is this agent's own heartbeat"
    record = {"format": FORMAT, "region": region, "life": life, "sent": _us(now), "probed": probed, "members": members}
    if well:
        record["well"] = [[*same, services] for same, services in well.items()]
    if carried:
        record["carried"] = carried
    return packed(_compact.encode(record).encode())


def decode_view(record: bytes, *, now: Instant, clocks: ClockFilter) -> tuple[Observation, ...]:
    """Return what a record says, on the clock of the reader who got it `now`: the heartbeat, then the rest.

    `clocks` is what that reader knows of the agents' clocks, and learns from this record.

    Raises `EvacError` for a record of another format.
    """
    try:
        told: dict[str, Any] = json.loads(unpacked(record))
        if told["format"] != FORMAT:
            raise EvacError(
                f"a view is in format {told['format']}, this evac reads {FORMAT}: run one version everywhere"
            )
        region = RegionId(told["region"])
        sent_at = clocks.sent_at(region, life=str(told["life"]), sent=_span(told["sent"]), now=now)
        at = _Moments(sent_at)
        seen: list[Probed | Carried | MemberSeen] = [_probed(region, row, at) for row in told["probed"]]
        seen += [
            _probed(region, [service, target, age, 0, True, as_client, ""], at)
            for target, age, as_client, services in told.get("well", ())
            for service in services
        ]
        seen += [_carried(region, row, at) for row in told.get("carried", ())]
        seen += [_member(row, at) for row in told["members"]]
    except (KeyError, TypeError, ValueError) as error:
        raise EvacError(f"a view cannot be read ({error!r}): was the store written by something else?") from error
    return Heartbeat(at=sent_at, region=region), *sorted(seen, key=lambda s: s.at)


class _Moments(dict[int, Instant]):
    """The moments of a record, and its spans of time, by how many microseconds; each is made once."""

    def __init__(self, sent_at: Instant) -> None:
        super().__init__()
        self._sent_at = sent_at
        self.spans = _Spans()

    def __missing__(self, age: int) -> Instant:
        at = self[age] = self._sent_at - _span(age)
        return at


class _Spans(dict[int, timedelta]):
    def __missing__(self, us: int) -> timedelta:
        span = self[us] = _span(us)
        return span


def _probed(vantage: RegionId, row: list[Any], at: _Moments) -> Probed:
    service, region, age, took, ok, as_client, reason, *answered = row
    return _make_probed(
        at=at[age],
        vantage=vantage,
        service=_one(service),
        region=_one(region),
        ok=ok,
        took=at.spans[took],
        reason=_one(reason),
        as_client=as_client,
        answered=bool(answered),
    )


def _carried(vantage: RegionId, row: list[Any], at: _Moments) -> Carried:
    service, region, age, window, requests, failed = row
    return Carried(
        at=at[age],
        vantage=vantage,
        service=_one(service),
        region=_one(region),
        window=at.spans[window],
        requests=requests,
        failed=failed,
    )


def _member(row: list[Any], at: _Moments) -> MemberSeen:
    component, region, age, reason, state = row
    return _make_member(
        at=at[age],
        component=_one(component),
        region=_one(region),
        state=None if state is None else _state(state, at.spans),
        reason=_one(reason),
    )


def _plain(state: MemberState) -> dict[str, object]:
    """Return a member's state as JSON holds it, without what is as by default."""
    plain: dict[str, object] = {}
    for name, default in _UNLESS_SAID.items():
        value = getattr(state, name)
        if value != default:
            plain[name] = _us(value) if isinstance(value, timedelta) else value
    return plain


def _state(plain: Mapping[str, Any], spans: _Spans) -> MemberState:
    given = {**plain, "detail": plain.get("detail") or _NO_DETAIL}
    given["role"] = MemberRole(given["role"])
    for name in ("stream_silence", "lag"):
        if given.get(name) is not None:
            given[name] = spans[given[name]]
    if given.get("upstream") is not None:
        given["upstream"] = _one(given["upstream"])
    if "sync_standbys" in given:
        given["sync_standbys"] = tuple(map(_one, given["sync_standbys"]))
    return _make_state(**given)


def _us(span: timedelta) -> int:
    return span // _MICROSECOND


def _span(us: int) -> timedelta:
    return timedelta(0, 0, us)
