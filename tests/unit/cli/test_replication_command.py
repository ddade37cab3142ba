"""What `evac replication` says: the tree of who follows whom, its figures, and `?` for what nobody knows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from typer.testing import CliRunner

from evac.cli import app
from evac.cli.replication import Told, lines, plain
from evac.core.estate import RegionId
from evac.core.observation import MemberRole, MemberSeen, MemberState
from evac.core.replicating import Topology, topologies
from evac.core.snapshot import Snapshot
from evac.engine.codec import to_plain
from evac.engine.overhearing import Overheard
from evac.report.topology import dot
from evac.sim.estates import CARTS_CACHE, EAST, EUROPE, ORDERS_DB, WEST, placed, shop
from fakes.estates import seconds

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)


def member(region: RegionId, at: float, position: int, **said: Any) -> MemberSeen:
    given: dict[str, Any] = {"role": MemberRole.STANDBY, "upstream": EAST, "streaming": True} | said
    state = MemberState(writable=False, position=position, **given)
    return MemberSeen(at=seconds(at), component=ORDERS_DB, region=region, state=state)


def primary(at: float, position: int, region: RegionId = EAST) -> MemberSeen:
    return member(
        region, at, position, role=MemberRole.PRIMARY, upstream=None, sync_standbys=(WEST, EUROPE), sync_acks=1
    )


def told(*looks: MemberSeen, remembered: tuple[MemberSeen, ...] = ()) -> tuple[tuple[Topology, ...], Told]:
    """What is made of looks that were overheard up to second 20, and of a view of 12 s before."""
    snapshot = Snapshot(
        estate="shop", at=seconds(500), wall=WALL - seconds(12), verdicts=(), voiceless={}, members=remembered,
        placements=(placed(shop()),), unplaced={}, decisions=(), active={}, stuck={},
    )  # fmt: skip
    heard = Overheard(since=seconds(15), until=seconds(20), wall=WALL, seen=looks)
    known = Told(estate=shop(), snapshot=snapshot, heard=heard)
    return topologies(shop(), known.looks(), primaries=known.primaries(), now=seconds(20)), known


GROWS = (primary(17, 0), primary(19.5, 100_000))
STREAMS = (
    *GROWS,
    member(WEST, 17, 0),
    member(WEST, 19.5, 99_000),
    member(EUROPE, 17, 0, upstream=WEST),
    member(EUROPE, 19.5, 90_000, upstream=WEST, lag_bytes=500),
)


def tree(*looks: MemberSeen, remembered: tuple[MemberSeen, ...] = ()) -> list[str]:
    """The lines of the database's tree."""
    found, known = told(*looks, remembered=remembered)
    said = lines(found, known)
    start = next(i for i, line in enumerate(said) if line.startswith("orders-db, "))
    return said[start : said.index("", start)]


def test_members_are_below_whom_they_follow_with_what_was_measured() -> None:
    assert tree(*STREAMS) == [
        "orders-db, postgresql, sync: its primary waits for any 1 of us-west-2, eu-west-1",
        "  member           stream     lag     behind                    bandwidth  last in sync  waited for",
        "  us-east-1        primary                                      40 kB/s",
        "  └─ us-west-2     streaming  25 ms   1.0 kB                    40 kB/s    525 ms ago    yes",
        "     └─ eu-west-1  streaming  250 ms  10 kB, 500 B not applied  36 kB/s    750 ms ago    yes",
    ]


def test_what_does_not_stream_is_said_first() -> None:
    broken = member(WEST, 19.5, 10, streaming=False, stream_silence=seconds(34), lag=seconds(35))
    silent = MemberSeen(at=seconds(19), component=ORDERS_DB, region=EUROPE, state=None, reason="connection refused")
    found, known = told(*GROWS, broken, silent)
    assert lines(found, known)[:4] == [
        "shop: not as it should be",
        "  carts-cache: no primary is seen",
        "  orders-db in us-west-2: stream broken, silent for 34 s",
        "  orders-db in eu-west-1: no answer (connection refused)",
    ]
    row = next(line for line in tree(*GROWS, broken, silent) if "us-west-2" in line and "any" not in line)
    assert re.split(" {2,}", row.strip()) == [
        "└─ us-west-2", "stream broken, silent for 34 s", "2.50 s", "100 kB", "?", "3 s ago", "yes",
    ]  # fmt: skip


def test_a_lag_that_began_before_anybody_looked_is_what_the_system_says_or_more_than_what_was_looked_at() -> None:
    grows = (primary(17, 1000), primary(19.5, 100_000))
    assert any("  35 s (applied)  100 kB" in line for line in tree(*grows, member(WEST, 19.5, 10, lag=seconds(35))))
    assert any("  over 2.50 s  100 kB" in line for line in tree(*grows, member(WEST, 19.5, 10)))


def test_whom_it_follows_is_said_as_the_member_says_it() -> None:
    def one(*, so: float = 19.5, **said: Any) -> str:
        found, known = told(*GROWS, member(WEST, so, 10, **said))
        return next(line for line in lines(found, known) if line.startswith("  orders-db in us-west-2: ")).split(
            ": ", 1
        )[1]

    assert one(upstream=None, streaming=False) == "follows nobody known"
    assert one(upstream=None, streaming=False, refuses=True) == "follows nobody, as it was told"
    assert one(role=MemberRole.STOPPED, upstream=None) == "stopped"
    assert one(so=10) == "unknown; 10 s ago: streaming"
    assert "streaming from nobody known" in "".join(tree(*GROWS, member(WEST, 19.5, 10, upstream=None)))
    gone = MemberSeen(at=seconds(10), component=ORDERS_DB, region=WEST, state=None, reason="x")
    assert any("unknown; 10 s ago: no answer (x)" in line for line in tree(*GROWS, gone))
    assert any("unknown: nothing was told of it" in line for line in tree(*GROWS))


def test_two_primaries_are_two_trees_and_the_record_is_named() -> None:
    said = tree(*GROWS, primary(19.5, 5, WEST))
    assert any("us-west-2  primary, though the record has us-east-1" in line for line in said)


def test_what_nobody_told_meanwhile_is_as_old_as_the_view_that_has_it() -> None:
    """It was seen 1 s before a view that is 12 s old."""
    old = member(WEST, 499, 5)
    assert any("unknown; 13 s ago: streaming" in line for line in tree(*GROWS, remembered=(old, primary(499, 7))))


def test_whom_a_primary_waits_for_is_its_own_word() -> None:
    assert GROWS[1].state is not None
    none = replace(GROWS[1].state, sync_standbys=(), sync_acks=0)
    assert tree(replace(GROWS[1], state=none))[0] == "orders-db, postgresql, sync, but its primary waits for nobody"
    assert tree(member(WEST, 19, 5))[0] == "orders-db, postgresql, sync; whom its primary waits for is not known"
    found, known = told(*(replace(look, component=CARTS_CACHE) for look in STREAMS))
    carts = next(line for line in lines(found, known) if line.startswith("carts-cache"))
    assert carts.endswith("async: its primary waits for nobody, and takes writes while 1 of its standbys are connected")


def test_graphviz_gets_a_cluster_a_component_and_an_edge_a_stream() -> None:
    found, _ = told(*STREAMS[:-1], member(EUROPE, 19.5, 90_000, upstream=WEST, streaming=False))
    graph = dot("shop", found, now=seconds(20))
    assert graph.startswith('digraph "shop" {\n')
    assert graph.endswith("\n}")
    assert '"orders-db/us-east-1" -> "orders-db/us-west-2" [label="lag 25 ms, 1.0 kB\\n40 kB/s", style=solid];' in graph
    assert '"orders-db/us-west-2" -> "orders-db/eu-west-1"' in graph
    assert graph.count("style=dashed") == 1
    assert '"orders-db/us-east-1" [label="us-east-1\\nprimary"];' in graph


def test_machines_get_moments_and_bytes_a_second() -> None:
    found, known = told(*STREAMS)
    said = json.loads(json.dumps(to_plain(plain(found, known))))
    assert (said["fine"], said["cut_off"], said["until"]) == (False, None, "2026-11-23T03:12:04+00:00")
    orders = said["components"][0]
    assert (orders["component"], orders["primary"], orders["acks"], orders["sync"]) == (
        "orders-db", EAST, 1, [WEST, EUROPE],
    )  # fmt: skip
    west = orders["replicas"][1]
    assert (west["upstream"], west["rate"], west["rate_over"], west["lag"]) == (EAST, 39600.0, 2_500_000, 25_000)
    assert west["in_sync_at"] == "2026-11-23T03:12:03.475000+00:00"
    assert said["components"][1]["replicas"][0]["told"] is None


def test_only_one_form_is_printed() -> None:
    done = CliRunner().invoke(app, ["replication", "--dot", "--json"])
    assert done.exit_code == 2
    assert "one of --dot and --json" in done.output
