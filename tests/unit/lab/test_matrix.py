"""Rows and seeds become scripts; what was seen is held to what was promised; the file is whole and resumed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evac.core.plan import RunKind
from evac.core.run import Outcome
from evac.lab.checker import Orphans, TwoOwners, Verdict
from evac.lab.faults import FaultKind
from evac.lab.history import Owner
from evac.lab.layout import covering, load
from evac.lab.matrix import table
from evac.lab.matrix.book import Book, BookError, version_of
from evac.lab.matrix.evidence import copy
from evac.lab.matrix.outcome import HARNESS, Ended, Seen, as_json, broken_harness, violations
from evac.lab.matrix.rows import HAZARDS, HOLD_S, PAUSE, ROWS, Expected, draw, select

PRIMARY, STANDBYS = "us-east-1", ("us-west-2", "eu-west-1")
VERDICT = Verdict(acknowledged=100, failed=1, unknown=2, unknown_present=1)
MOVED = Ended(id="1", kind=RunKind.FAILOVER, outcome=Outcome.COMPLETED)
STUCK_REBUILD = Ended(id="2", kind=RunKind.REJOIN, outcome=Outcome.STUCK)
REBUILT = Ended(id="3", kind=RunKind.REJOIN, outcome=Outcome.COMPLETED)
SEEN = Seen(
    runs=(MOVED,),
    called=False,
    paged=False,
    whole=True,
    verdicts={"orders": VERDICT, "carts": VERDICT},
    orphans_reported=0,
    rto_s=3.5,
    write_gap_s=3.6,
)
STAYED = replace(SEEN, runs=(), rto_s=None)
(CUT,) = select("cut/sync/embedded")


def _script(name: str, seed: int = 1) -> Any:
    (row,) = select(name)
    return draw(row, seed, primary=PRIMARY, standbys=STANDBYS)


def test_every_hazard_has_a_row_in_each_of_its_forms_and_modes() -> None:
    assert len(ROWS) == sum(len(hazard.modes) * len(hazard.forms) for hazard in HAZARDS)
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.form for row in select("store-member")} == {"distributed"}
    assert select("no such row") == ()
    assert [row.expected for row in select("power/*/embedded")] == [Expected.MOVES, Expected.CALLS]
    assert [row.expected for row in select("kill/*/embedded")] == [Expected.MOVES, Expected.MOVES]
    assert [row.expected for row in select("power/*/distributed")] == [Expected.MOVES, Expected.MOVES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_seed_is_always_the_same_script(row: Any) -> None:
    scripts = [draw(row, seed, primary=PRIMARY, standbys=STANDBYS) for seed in range(1, 30)]

    assert scripts == [draw(row, seed, primary=PRIMARY, standbys=STANDBYS) for seed in range(1, 30)]
    assert len({str(script) for script in scripts}) > 10
    for script in scripts:
        assert {strike.fault.region for strike in script.strikes} <= {PRIMARY, *STANDBYS}
        assert len(script.strikes) <= 2
        assert (script.entries is None) == (row.hazard.crash is None)


def test_a_watchdog_is_struck_only_where_there_is_one() -> None:
    assert [row.name for row in select("watchdog")] == [
        f"{kind}-watchdog/async/distributed" for kind in ("freeze", "kill")
    ]


@pytest.mark.parametrize("row", [row for row in ROWS if row.hazard.crash], ids=lambda row: row.name)
def test_the_seeds_of_a_row_strike_its_leader_at_every_entry(row: Any) -> None:
    many = row.hazard.crash.entries_max
    entries = [draw(row, seed, primary=PRIMARY, standbys=STANDBYS).entries or 0 for seed in range(1, many + 1)]
    assert sorted(entries) == list(range(1, many + 1))


def test_a_script_says_how_the_leader_is_struck() -> None:
    assert "; leader cut off at entry " in f"; {_script('leader-cut-switchover/sync')}"
    assert "kill us-east-1" in str(_script("leader-frozen-failover/sync"))
    assert "; leader frozen at entry " in str(_script("leader-frozen-failover/sync"))


def test_two_faults_are_two_different_ones_wherever_a_seed_puts_them() -> None:
    scripts = [_script("two/sync/embedded", seed) for seed in range(1, 100)]

    assert {len(script.strikes) for script in scripts} == {2}
    assert {strike.fault.region for script in scripts for strike in script.strikes} == {PRIMARY, *STANDBYS}
    assert len({strike.fault.kind for script in scripts for strike in script.strikes}) >= 8


def test_a_lab_whose_machines_are_paused_has_a_lease_that_covers_the_pause(tmp_path: Path) -> None:
    paused = [row for row in ROWS if row.pause]
    assert {row.hazard.name for row in paused} == {"freeze-all", "two"}
    assert {(row.mode, row.form) for row in paused} == {("async", "distributed")}
    assert HOLD_S[1] < PAUSE.total_seconds()
    spec = load(folder=tmp_path, file=covering(PAUSE, folder=tmp_path), mode="async", form="distributed").spec
    shipped = load(folder=tmp_path).spec
    assert spec.pause == PAUSE
    assert spec.model_dump(exclude={"pause", "estate"}) == shipped.model_dump(exclude={"pause", "estate"})


def test_a_script_says_what_it_does() -> None:
    strike = _script("cut-link/sync/embedded").strikes[0]
    cut = strike.fault

    assert (cut.kind, cut.region) == (FaultKind.CUT, PRIMARY)
    assert str(strike).startswith(f"cut {PRIMARY} to {cut.to} after ")
    assert "leader killed at entry" in str(_script("leader-failover/sync/embedded"))


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (Expected.MOVES, replace(SEEN, runs=(MOVED, STUCK_REBUILD, REBUILT))),
        (Expected.MOVES, SEEN),
        (Expected.STAYS, STAYED),
        (Expected.STAYS, replace(STAYED, runs=(replace(MOVED, kind=RunKind.PROTECT),))),
        (Expected.CALLS, replace(STAYED, called=True)),
        (Expected.CALLS, replace(STAYED, called=True, runs=(replace(MOVED, outcome=Outcome.ROLLED_BACK),))),
        (Expected.CLEAR, SEEN),
        (Expected.CLEAR, replace(SEEN, runs=(replace(MOVED, outcome=Outcome.STUCK),), paged=True, whole=False)),
        (Expected.MOVES, replace(SEEN, verdicts={"orders": VERDICT, "carts": replace(VERDICT, lost=("c",))})),
        (Expected.MOVES, replace(SEEN, verdicts={"orders": replace(VERDICT, lost=("a",), orphans=Orphans())})),
    ],
)
def test_promises_that_were_kept(expected: Expected, seen: Seen) -> None:
    assert violations(expected, seen) == ()


TWO = TwoOwners(write="a", owner=Owner(node="x", term=1), other=Owner(node="y", term=2), why="after")


@pytest.mark.parametrize(
    ("expected", "seen", "broken"),
    [
        (Expected.MOVES, STAYED, "no move completed (L1)"),
        (Expected.STAYS, SEEN, "is a failover (L4)"),
        (Expected.STAYS, replace(STAYED, runs=(replace(MOVED, kind=RunKind.SHIFT),)), "is a shift (L4)"),
        (Expected.CALLS, replace(SEEN, called=True), "had to stay"),
        (Expected.CALLS, STAYED, "nobody was called (L2)"),
        (Expected.CLEAR, replace(SEEN, runs=(replace(MOVED, outcome=None),)), "has not ended"),
        (Expected.CLEAR, replace(SEEN, runs=(replace(MOVED, outcome=Outcome.STUCK),)), "is stuck, and nobody"),
        (Expected.CLEAR, replace(SEEN, runs=(replace(MOVED, outcome=Outcome.STUCK), MOVED)), "is stuck, and nobody"),
        (Expected.MOVES, replace(SEEN, runs=(MOVED, STUCK_REBUILD)), "is stuck, and nobody"),
        (Expected.CLEAR, replace(SEEN, whole=False), "not whole again"),
        (
            Expected.CLEAR,
            replace(SEEN, verdicts={"orders": replace(VERDICT, lost=("a",))}),
            "1 acknowledged writes lost",
        ),
        (Expected.CLEAR, replace(SEEN, verdicts={"carts": replace(VERDICT, two_owners=(TWO,))}), "a second owner (S1)"),
        (Expected.CLEAR, replace(SEEN, verdicts={"carts": replace(VERDICT, doubled=("a",))}), "1 doubled, 0 phantoms"),
        (
            Expected.CLEAR,
            replace(SEEN, verdicts={"orders": replace(VERDICT, orphans=Orphans(unreported=("a",)))}),
            "1 lost writes not in the orphan report",
        ),
        (
            Expected.CLEAR,
            replace(SEEN, verdicts={"orders": replace(VERDICT, orphans=Orphans(false=("a",)))}),
            "1 writes wrongly in the orphan report",
        ),
    ],
)
def test_promises_that_were_broken(expected: Expected, seen: Seen, broken: str) -> None:
    found = violations(expected, seen)

    assert len(found) == 1
    assert broken in found[0]


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (SEEN, "completed"),
        (replace(SEEN, runs=(replace(MOVED, outcome=None),)), "unsettled"),
        (replace(STAYED, called=True), "called"),
        (STAYED, "stayed"),
    ],
)
def test_an_outcome_is_that_of_the_last_move(seen: Seen, outcome: str) -> None:
    assert seen.outcome == outcome


def _run(seed: int = 1, seen: Seen = SEEN, *, version: str = "v1") -> dict[str, Any]:
    return as_json(_script("cut/sync/embedded", seed), seen, version=version, took_s=40.0)


def test_a_run_in_the_file_is_played_again_only_with_other_code_or_when_it_could_not_be_played(tmp_path: Path) -> None:
    book = Book.read(tmp_path / "new" / "matrix.json")
    book.add(_run())
    book.add(broken_harness(_script("cut/sync/embedded", 2), "no lab", version="v1", took_s=1.0))
    again = Book.read(book.path)

    assert again.has(CUT.name, 1, version="v1")
    assert not again.has(CUT.name, 1, version="v2")
    assert not again.has(CUT.name, 2, version="v1")
    assert not again.has(CUT.name, 3, version="v1")
    assert [run["outcome"] for run in again.of([CUT.name], seeds=2, version="v1")] == ["completed", HARNESS]
    assert again.of([CUT.name], seeds=2, version="v2") == ()


def test_a_run_that_is_played_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    book = Book.read(tmp_path / "matrix.json")
    book.add(_run())
    book.add(_run(version="v2"))

    written = json.loads(book.path.read_text())["runs"]
    assert [(run["seed"], run["version"]) for run in written] == [(1, "v2")]
    assert {"fault", "mode", "seed", "outcome", "rto_s", "lost_acked", "orphans_reported", "dual_primary"} <= set(
        written[0]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"runs": [{"name": "x"}]}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "matrix.json").write_text(text)

    with pytest.raises(BookError, match="move it away"):
        Book.read(tmp_path / "matrix.json")


def test_a_version_is_that_of_what_the_files_hold(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a")
    first = version_of(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("made")
    assert version_of(tmp_path) == first

    (tmp_path / "a.py").write_text("b")
    assert version_of(tmp_path) != first


def test_the_table_has_a_line_for_each_row_and_says_what_was_broken() -> None:
    lost = replace(SEEN, verdicts={"orders": replace(VERDICT, lost=("a",)), "carts": VERDICT}, rto_s=4.5)
    harness = broken_harness(_script("cut/sync/embedded", 3), "no lab", version="v1", took_s=0.0)
    runs = [_run(1), _run(2, lost), harness]

    (line,) = table.lines(runs)
    assert line[:8] == (CUT.name, "3", "moves", "completed 2, harness", "4.0", "1", "0", "0")
    assert line[8] == "BROKEN: 1 acknowledged writes lost (S4)"
    assert table.lines([harness])[0][8] == "not played"
    assert table.lines([_run(1)])[0][8] == "ok"
    assert table.as_plain(runs).splitlines()[1].startswith(CUT.name)
    assert "3 runs, 27 s each: 0 writes by a second owner, 1 lost" in table.summary(runs)
    assert table.summary([]).startswith("0 runs")


def test_the_table_can_be_shown_on_a_terminal() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table.as_table([_run()]))
    assert CUT.name in console.export_text()


def test_evidence_is_logs_and_histories_but_no_secret(tmp_path: Path) -> None:
    lab, kept = tmp_path / "lab", tmp_path / "kept"
    for name in (
        "evac.log",
        "clients-clients/history.jsonl",
        "clients-clients/workload.json",
        "secrets/pg",
        "eu/pg.log",
    ):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text(name)
    (kept / "old").mkdir(parents=True)

    copy(lab, kept)

    files = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert files == {"evac.log", "clients-clients/history.jsonl", "eu/pg.log"}
    assert not (kept / "old").exists()
