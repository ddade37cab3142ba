"""`evac status`, `explain`, `what-if` on a host that does not reach the store: what its agent kept, how it stands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evac.cli import app
from evac.cli.standing import cut_off, store_line
from evac.config import load
from evac.core.errors import StoreUnavailable
from evac.core.estate import RegionId
from evac.core.snapshot import Snapshot
from evac.engine.codec import encode
from evac.engine.last_known import Guarded, Here
from evac.opening import CutOff
from evac.ports import StoreHealth, StoreMember
from evac.sim.estates import CARTS_CACHE, EAST, ORDERS_DB, placed, shop
from fakes.estates import judged
from fakes.views import snapshot_of

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)
STARTER = resources.files("evac.config") / "estates" / "starter.yaml"
NOWHERE = "etcd://127.0.0.1:1"
"""Nothing listens there: the question is refused at once, and asked again for as long as a store is given."""
SILENT = "etcd at a:2379 did not answer in 6 s"


def snapshot(**changes: object) -> Snapshot:
    made = snapshot_of(judged(shop()), wall=WALL, at=timedelta(seconds=100), placements=(placed(shop()),))
    return replace(made, **changes)  # type: ignore[arg-type]


def held(age: float, *, armed: bool = True) -> Guarded:
    return Guarded(component=ORDERS_DB, age=timedelta(seconds=age), kills_at=timedelta(seconds=6), armed=armed)


def told(*guarded: Guarded, after_s: float = 0.0, answered: bool = True, **changes: object) -> list[str]:
    since = WALL - timedelta(seconds=12) if answered else None
    here = Here(region=EAST, wall=WALL - timedelta(seconds=after_s), answered=since, guarded=guarded)
    return [*cut_off(CutOff(here=here, why=SILENT), snapshot(**changes), (ORDERS_DB, CARTS_CACHE), wall=WALL)]


def test_it_says_since_when_what_it_last_knew_and_what_becomes_of_the_primaries_here() -> None:
    assert told(held(4), wall=WALL - timedelta(seconds=13)) == [
        "shop: the store cannot be reached from us-east-1, for 12 s. Needed from you: look from another region,"
        " and mend the way from us-east-1 to the store",
        f"  {SILENT}",
        "  us-east-1's agent decides nothing and is ordered nothing meanwhile; the others go on if they can",
        "  orders-db: held under a lease that was renewed 4 s ago: being fenced, its watchdog kills it in 2 s",
        "  carts-cache: acknowledges nothing once enough of its standbys have left or refuse it",
        "  what follows is 13 s old",
    ]


@pytest.mark.parametrize(
    ("guarded", "after_s", "said"),
    [
        (held(12), 0.0, "renewed 12 s ago: fenced, its watchdog kills it at 6 s"),
        (held(4), 3.0, "renewed 7 s ago: fenced, its watchdog kills it at 6 s"),
        (held(4, armed=False), 0.0, "renewed 4 s ago: being fenced, its agent kills it in 2 s"),
    ],
)
def test_a_lease_that_ran_out_is_a_fence(guarded: Guarded, after_s: float, said: str) -> None:
    assert any(line.endswith(said) for line in told(guarded, after_s=after_s))


def test_what_nothing_fences_here_is_said() -> None:
    assert "  orders-db: no lease is held, and it waits for no standby: nothing here stops it, unless you do" in told(
        placements=(replace(placed(shop()), sync={}),)
    )


def test_an_agent_that_fell_silent_too_is_said_and_one_that_never_heard_of_the_store() -> None:
    lines = told(after_s=40, answered=False)
    assert "from us-east-1, since its agent started" in lines[0]
    assert lines[2] == "  us-east-1's agent on this host has not told anything for 40 s: see that it runs"


def test_how_a_cluster_is() -> None:
    up = StoreMember(name="a:2379", up=True, leads=True)
    down = StoreMember(name="c:2379", up=False)
    found = StoreHealth(
        kind="etcd",
        members=(up, replace(up, name="b:2379", leads=False), down),
        read=timedelta(milliseconds=31),
        size=48_000_000,
        limit=2_000_000_000,
        trouble="NOSPACE",
    )
    assert store_line(found, commit=timedelta(milliseconds=62)) == (
        "store on etcd: 2 of 3 members answer, a:2379 leads, silent: c:2379, a read takes 31 ms from here,"
        " a commit 62 ms from the leader, 48 MB of at most 2.0 GB, it says: NOSPACE"
    )
    lost = replace(found, members=(down, replace(down, name="b:2379")), read=None, size=None, limit=None, trouble="")
    assert store_line(lost, commit=None) == (
        "store on etcd: 0 of 2 members answer, none of them leads, silent: c:2379 and b:2379, no read is answered"
    )


def test_how_a_file_is() -> None:
    file = StoreHealth(kind="sqlite", members=(StoreMember(name="evac.db", up=True, leads=True),), read=timedelta())
    assert store_line(file, commit=None) == "store on sqlite, evac.db, a read takes 0 ms from here"
    gone = replace(file, members=(StoreMember(name="evac.db", up=False),), read=None, size=5)
    assert store_line(gone, commit=None) == "store on sqlite, evac.db, does not answer, no read is answered, 5 B"


@pytest.fixture(name="estate")
def _estate(tmp_path: Path) -> Path:
    (tmp_path / "estate.yaml").write_text(STARTER.read_text())
    return tmp_path / "estate.yaml"


def test_a_host_that_is_cut_off_says_what_its_agent_kept(estate: Path) -> None:
    state = estate.parent / ".evac"
    state.mkdir()
    loaded = load(estate)
    region = next(iter(loaded.estate.regions))
    now = datetime.now(UTC)
    words = ("--estate", str(estate), "--store", NOWHERE)
    here = Here(region=region, wall=now, answered=now - timedelta(seconds=30))
    (state / f"agent-{region}.json").write_bytes(encode(here))
    lost = CliRunner().invoke(app, ["status", *words])
    assert isinstance(lost.exception, StoreUnavailable)
    assert f"{region}'s agent on this host has not heard of it either" in str(lost.exception)
    verdicts = tuple(
        replace(v, region=RegionId(r))
        for r, v in zip(loaded.estate.regions, judged(shop()).verdicts.values(), strict=True)
    )
    kept = snapshot(estate="my-shop", wall=now - timedelta(seconds=31), verdicts=verdicts, placements=())
    (state / f"known-{region}.json").write_bytes(encode({"status": encode(kept).decode()}))
    done = CliRunner().invoke(app, ["status", *words])
    assert done.exit_code == 4
    assert done.stdout.startswith(f"my-shop: the store cannot be reached from {region}, for ")
    assert "\n  what follows is " in done.stdout
    found = json.loads(CliRunner().invoke(app, ["status", *words, "--json"]).stdout)
    assert (found["fine"], found["led"], found["cut_off"]["region"]) == (False, False, region)
    assert "did not answer" in found["cut_off"]["why"]
    done = CliRunner().invoke(app, ["explain", region, *words, "--json"])
    assert done.exit_code == 0
    assert f"this is what {region}'s agent kept of it" in done.stderr
    assert json.loads(done.stdout)["cut_off"]["region"] == region
    fewer = replace(kept, verdicts=kept.verdicts[1:])
    (state / f"known-{region}.json").write_bytes(encode({"status": encode(fewer).decode()}))
    unknown = CliRunner().invoke(app, ["explain", region, *words])
    assert f"who leads does not know {region} yet" in str(unknown.exception)


def test_what_was_kept_of_another_estate_is_not_shown(estate: Path) -> None:
    state = estate.parent / ".evac"
    state.mkdir()
    now = datetime.now(UTC)
    here = Here(region=EAST, wall=now, answered=now - timedelta(seconds=30))
    (state / f"agent-{EAST}.json").write_bytes(encode(here))
    (state / f"known-{EAST}.json").write_bytes(encode({"status": encode(snapshot(estate="other")).decode()}))
    done = CliRunner().invoke(app, ["status", "--estate", str(estate), "--store", NOWHERE])
    assert isinstance(done.exception, StoreUnavailable)
    assert "is of another estate, other: name this one's state folder with --state" in str(done.exception)
    assert "other" not in done.stdout


def test_a_command_that_alone_does_not_reach_the_store_fences_nothing_by_its_words() -> None:
    """Its agent renews all the while: what a person has to mend is how the command is called."""
    here = Here(region=EAST, wall=WALL, answered=WALL - timedelta(seconds=0.1), guarded=(held(1),))
    cut = CutOff(here=here, why="the store's certificate agent.pem: Permission denied")
    assert [*cut_off(cut, snapshot(), (ORDERS_DB,), wall=WALL + timedelta(seconds=2))] == [
        "shop: us-east-1's agent reaches the store, this command does not. Needed from you: see that this command is"
        " given the same --store, and may read the files that it names",
        "  the store's certificate agent.pem: Permission denied",
        "  orders-db: held under a lease that was renewed 3 s ago",
        "  what follows is 2 s old",
    ]
    assert not here.reaches_the_store(WALL + timedelta(seconds=7)), "its word is old"


def test_a_host_without_an_agent_says_that_the_store_cannot_be_reached(estate: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--estate", str(estate), "--store", NOWHERE])
    assert isinstance(done.exception, StoreUnavailable)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
@pytest.mark.parametrize(
    ("shut", "shared"), [("folder", True), ("file", True), ("folder", False)], ids=["folder", "file", "no-shared-store"]
)
def test_whoever_may_not_read_what_is_kept_is_told_as_whom_to_ask(estate: Path, shut: str, shared: bool) -> None:
    state = estate.parent / "state"
    state.mkdir()
    (state / f"agent-{EAST}.json").write_bytes(encode(Here(region=EAST, wall=WALL, answered=WALL)))
    closed = state if shut == "folder" else state / f"agent-{EAST}.json"
    closed.chmod(0)
    # Root reads everything, unless this is taken from it.
    plainly = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    words = ("status", "--estate", str(estate), "--state", str(state))
    store, trouble = (("--store", NOWHERE), "did not answer") if shared else ((), "evac.db cannot be looked at")
    try:
        done = subprocess.run(
            [*plainly, sys.executable, "-c", "from evac.cli import main; main()", *words, *store],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        closed.chmod(0o700)
    assert done.returncode == 4
    assert trouble in done.stderr
    assert f"what evac keeps on this host may not be read ({closed}: Permission denied)" in done.stderr
    assert f"type the same behind sudo -u {state.owner()}" in done.stderr
