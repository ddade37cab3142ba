"""What becomes of frames: arrival, order, loss, blocking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.lab.wan.carrier import BACKLOG_MAX_BYTES, HEADER, Carrier, destination
from evac.lab.wan.links import Link

SITES = {"a": 1, "b": 2}
AB, BA = ("a", "b"), ("b", "a")


def ipv4(to: int, *, note: bytes = b"") -> bytes:
    return bytes(HEADER + 12) + b"\x08\x00" + bytes(16) + bytes((10, 77, to, 1)) + note


def arp(to: int) -> bytes:
    return bytes(HEADER + 12) + b"\x08\x06" + bytes(24) + bytes((10, 77, to, 1))


def carrier(link: Link, *, seed: int = 7) -> Carrier:
    return Carrier(SITES, {AB: link, BA: link}, seed=seed)


def test_the_destination_is_read_from_ipv4_and_arp_only() -> None:
    assert destination(ipv4(2)) == 2
    assert destination(arp(3)) == 3
    assert destination(bytes(HEADER + 12) + b"\x86\xdd" + bytes(40)) == 0
    assert destination(b"short") == 0


def test_a_frame_arrives_after_the_delay_and_not_before() -> None:
    wan = carrier(Link(delay_s=0.03))
    wan.take(1, ipv4(2), now_s=5.0)
    assert wan.due_s() == pytest.approx(5.03)
    assert wan.deliver(now_s=5.029) == []
    assert wan.deliver(now_s=5.031) == [(2, ipv4(2))]
    assert wan.due_s() is None


def test_frames_to_nowhere_and_to_oneself_are_dropped() -> None:
    wan = carrier(Link(delay_s=0.0))
    for frame in (ipv4(9), ipv4(1), b"?"):
        wan.take(1, frame, now_s=0.0)
    assert wan.due_s() is None


@given(st.lists(st.floats(min_value=0, max_value=0.01), min_size=2, max_size=30), st.integers())
def test_jitter_never_reorders(gaps: list[float], seed: int) -> None:
    wan = carrier(Link(delay_s=0.01, jitter_s=0.05), seed=seed)
    now_s = 0.0
    for number, gap in enumerate(gaps):
        now_s += gap
        wan.take(1, ipv4(2, note=bytes((number,))), now_s=now_s)
    arrived = [frame[-1] for _, frame in wan.deliver(now_s=now_s + 1)]
    assert arrived == list(range(len(gaps)))


def test_a_block_silences_also_what_is_under_way() -> None:
    wan = carrier(Link(delay_s=0.03))
    wan.take(1, ipv4(2), now_s=0.0)
    wan.set({AB: Link(delay_s=0.03, blocked=True)})
    wan.take(1, ipv4(2), now_s=0.01)
    wan.take(2, ipv4(1), now_s=0.01)
    assert [to for to, _ in wan.deliver(now_s=1.0)] == [1]
    assert wan.counts()[AB].blocked == 2


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.4])
def test_the_share_lost_is_the_share_asked_for(loss: float) -> None:
    wan, frames = carrier(Link(delay_s=0.0, loss=loss)), 20_000
    for _ in range(frames):
        wan.take(1, ipv4(2), now_s=0.0)
    assert wan.counts()[AB].lost / frames == pytest.approx(loss, abs=0.01)
    assert len(wan.deliver(now_s=1.0)) + wan.counts()[AB].lost == frames


def test_the_same_seed_loses_the_same_frames() -> None:
    def arrived(seed: int) -> list[bytes]:
        wan = carrier(Link(delay_s=0.0, loss=0.5), seed=seed)
        for number in range(100):
            wan.take(1, ipv4(2, note=bytes((number,))), now_s=0.0)
        return [frame for _, frame in wan.deliver(now_s=1.0)]

    assert arrived(1) == arrived(1)
    assert arrived(1) != arrived(2)


def test_a_full_queue_drops() -> None:
    wan = carrier(Link(delay_s=1.0))
    big = ipv4(2, note=bytes(BACKLOG_MAX_BYTES // 2))
    for _ in range(2):
        wan.take(1, big, now_s=0.0)
    assert wan.counts()[AB].full == 1
    assert len(wan.deliver(now_s=2.0)) == 1
