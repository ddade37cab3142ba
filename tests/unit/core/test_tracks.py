"""What two looks at a log tell: bytes a second, bytes behind, and as of when a standby has everything."""

from __future__ import annotations

from datetime import timedelta

from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.tracks import Track, behind, in_order, rate, track
from evac.sim.estates import EAST, ORDERS_DB
from fakes.estates import seconds


def look(at: float, position: int | None, *, timeline: int = 1, stream: str = "") -> MemberSeen:
    state = MemberState(
        role=MemberRole.STANDBY, writable=False, timeline=timeline, position=position, detail={"stream": stream}
    )
    return MemberSeen(at=seconds(at), component=ORDERS_DB, region=EAST, state=state)


def followed(*looks: tuple[float, int], timeline: int = 1) -> Track:
    found = track(look(at, position, timeline=timeline) for at, position in looks)
    assert found is not None
    return found


PRIMARY = followed((10, 1000), (11, 2000), (12, 2000), (13, 3000))


def test_a_track_is_what_was_said_of_a_position_in_the_present_history() -> None:
    silent = MemberSeen(at=seconds(1), component=ORDERS_DB, region=EAST, state=None, reason="x")
    assert track([silent, look(2, None)]) is None
    found = track([look(1, 5), look(2, 9, timeline=2), look(2, 10, timeline=2), silent, look(3, 11, timeline=2)])
    assert found is not None
    assert [tuple(p) for p in found.points] == [(seconds(2), 9), (seconds(3), 11)]


def test_who_went_back_begins_anew_and_so_does_who_got_another_stream() -> None:
    assert len(followed((1, 9), (2, 5), (3, 6)).points) == 2
    other = track([look(1, 5, stream="a"), look(2, 9, stream="b")])
    assert other is not None
    assert other.history == (1, "b")
    assert len(other.points) == 1


def test_bytes_a_second_are_two_looks_and_the_time_between_them() -> None:
    measured = rate(PRIMARY)
    assert measured is not None
    assert (round(measured.bytes_per_second), measured.over) == (667, seconds(3))
    assert rate(followed((1, 5), (1.9, 5000))) is None


def test_who_holds_all_is_in_sync_at_that_very_moment() -> None:
    found = behind(PRIMARY, followed((11.5, 2000)))
    assert found is not None
    assert (found.size, found.in_sync_at, found.lag) == (0, seconds(11.5), timedelta())


def test_who_is_behind_has_what_the_primary_had_before() -> None:
    found = behind(PRIMARY, followed((12.5, 1500)))
    assert found is not None
    assert (found.size, found.in_sync_at, found.lag) == (1000, seconds(10.5), seconds(2))


def test_who_is_further_behind_than_anybody_looked_is_behind_for_longer() -> None:
    found = behind(PRIMARY, followed((12.5, 400)))
    assert found is not None
    assert (found.size, found.in_sync_at, found.lag, found.over) == (2100, None, None, seconds(2.5))


def test_the_newest_look_is_taken_at_which_the_primary_is_known() -> None:
    found = behind(PRIMARY, followed((12.0, 1000), (13.4, 3400)))
    assert found is not None
    assert (found.size, found.lag) == (1000, seconds(2))


def test_after_the_primarys_last_look_it_is_known_to_be_where_it_was() -> None:
    found = behind(PRIMARY, followed((14.0, 3000)))
    assert found is not None
    assert (found.size, found.in_sync_at, found.lag, found.over) == (0, seconds(13), None, None)


def test_what_cannot_be_compared_is_not() -> None:
    assert behind(PRIMARY, followed((12.0, 1000), timeline=2)) is None
    assert behind(PRIMARY, followed((9.0, 1000))) is None


def test_looks_come_in_their_order() -> None:
    late, early = look(2, 5), look(1, 4)
    assert in_order([late, early]) == [early, late]
