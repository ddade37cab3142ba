"""The checker finds every violation that is planted in a valid history, and none in a valid one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from evac.lab.checker import check, find_two_owners, reigns
from evac.lab.history import Ending, Owner, Term, Write

NODES = ("us-east-1", "us-west-2", "eu-west-1")


@dataclass(frozen=True)
class World:
    """A history in which every promise was kept, and the rows it left."""

    writes: tuple[Write, ...]
    rows: tuple[str, ...]

    def of(self, ending: Ending) -> list[Write]:
        return [w for w in self.writes if w.ending is ending]


def _write(number: int, *, at: float, took: float, ending: Ending, owner: Owner) -> Write:
    return Write(
        id=f"r.c.{number}",
        client="c",
        store="orders",
        via="web",
        invoked=at,
        ended=at + took,
        ending=ending,
        owner=owner if ending is Ending.OK else None,
    )


@st.composite
def worlds(draw: st.DrawFn, *, reigns_min: int = 1, words: bool | None = None) -> World:
    """Reigns one after the other; answers may be heard late, long after the next reign began."""
    as_words = draw(st.booleans()) if words is None else words
    count = draw(st.integers(reigns_min, 4))
    writes: list[Write] = []
    start = 100.0
    for reign in range(count):
        term: Term = f"replid{9 - reign}" if as_words else reign + 3
        owner = Owner(node=draw(st.sampled_from(NODES)), term=term)
        writes.append(_write(len(writes), at=start, took=0.01, ending=Ending.OK, owner=owner))
        for _ in range(draw(st.integers(1, 6))):
            at = start + 0.02 + draw(st.floats(0, 5))
            took = draw(st.floats(0.001, 20))
            ending = draw(st.sampled_from((Ending.OK, Ending.OK, Ending.INFO, Ending.FAIL)))
            writes.append(_write(len(writes), at=at, took=took, ending=ending, owner=owner))
        writes.append(_write(len(writes), at=start + 5.1, took=0.01, ending=Ending.OK, owner=owner))
        start += 10
    present = [w.id for w in writes if w.ending is Ending.OK or (w.ending is Ending.INFO and draw(st.booleans()))]
    return World(writes=tuple(writes), rows=tuple(draw(st.permutations(present))))


@given(worlds())
def test_valid_history_has_no_findings(world: World) -> None:
    verdict = check(world.writes, rows=world.rows)

    assert verdict.kept
    assert verdict.acknowledged == len(world.of(Ending.OK))
    assert verdict.failed == len(world.of(Ending.FAIL))
    assert verdict.acknowledged + verdict.unknown_present == len(world.rows)


@given(worlds(), st.data())
def test_missing_acknowledged_write_is_lost(world: World, data: st.DataObject) -> None:
    missing = data.draw(st.sampled_from(world.of(Ending.OK))).id

    verdict = check(world.writes, rows=[row for row in world.rows if row != missing])

    assert verdict.lost == (missing,)
    assert not verdict.kept


@given(worlds(), st.data())
def test_row_that_is_there_twice_is_doubled(world: World, data: st.DataObject) -> None:
    twice = data.draw(st.sampled_from(world.rows))

    verdict = check(world.writes, rows=[*world.rows, twice])

    assert verdict.doubled == (twice,)
    assert not verdict.kept


@given(worlds())
def test_row_nobody_wrote_is_phantom(world: World) -> None:
    verdict = check(world.writes, rows=[*world.rows, "r.c.stranger"])

    assert verdict.phantom == ("r.c.stranger",)
    assert not verdict.kept


@given(worlds(), st.data())
def test_row_of_a_failed_write_is_phantom(world: World, data: st.DataObject) -> None:
    write = data.draw(st.sampled_from(world.of(Ending.OK)))
    told_no = [replace(w, ending=Ending.FAIL, owner=None) if w is write else w for w in world.writes]

    verdict = check(told_no, rows=world.rows)

    assert verdict.phantom == (write.id,)


@given(worlds(), st.data())
def test_second_node_in_a_term_is_a_second_owner(world: World, data: st.DataObject) -> None:
    first = {reign.first.id for reign in reigns(world.writes)}
    write = data.draw(st.sampled_from([w for w in world.of(Ending.OK) if w.id not in first]))
    assert write.owner
    usurped = replace(write, owner=replace(write.owner, node="elsewhere"))

    found = find_two_owners([usurped if w is write else w for w in world.writes])

    assert [f.write for f in found] == [write.id]
    assert found[0].why == "two nodes in one term"


@given(worlds(reigns_min=2), st.floats(0.001, 100), st.data())
def test_old_term_after_a_newer_one_is_a_second_owner(world: World, after: float, data: st.DataObject) -> None:
    *olds, newest = reigns(world.writes)
    old = data.draw(st.sampled_from(olds))
    assert old.first.owner
    at = newest.begun + after
    late = _write(10_000, at=at, took=0.1, ending=Ending.OK, owner=old.first.owner)

    found = find_two_owners([*world.writes, late])

    assert [f.write for f in found] == [late.id]
    assert found[0].why == "after a later term began"


@given(worlds(reigns_min=2, words=False))
def test_numbered_term_heard_only_after_a_newer_one_is_a_second_owner(world: World) -> None:
    newest = reigns(world.writes)[-1]
    late = _write(10_000, at=newest.begun + 1, took=0.1, ending=Ending.OK, owner=Owner(node="elsewhere", term=1))

    assert late.id in [f.write for f in find_two_owners([*world.writes, late])]


@given(worlds(reigns_min=2, words=False))
def test_answer_that_is_only_heard_late_is_no_second_owner(world: World) -> None:
    old, following, *_ = reigns(world.writes)
    assert old.first.owner
    late = _write(10_000, at=following.begun - 1, took=50, ending=Ending.OK, owner=old.first.owner)

    assert not find_two_owners([*world.writes, late])


@given(worlds(), st.data())
def test_exact_orphan_report_keeps_the_promise(world: World, data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from([w.id for w in world.of(Ending.OK)])))
    rows = [row for row in world.rows if row not in lost]
    unheard = [w.id for w in world.of(Ending.INFO) if w.id not in rows]

    assert check(world.writes, rows=rows, orphans=[*lost, *unheard]).kept


@given(worlds(), st.data())
def test_orphan_left_out_of_the_report_is_found(world: World, data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from([w.id for w in world.of(Ending.OK)]), min_size=1))
    hidden = data.draw(st.sampled_from(sorted(lost)))

    verdict = check(world.writes, rows=[r for r in world.rows if r not in lost], orphans=lost - {hidden})

    assert verdict.orphans
    assert verdict.orphans.unreported == (hidden,)
    assert not verdict.kept


@given(worlds(), st.data())
def test_orphan_that_is_there_or_was_never_written_is_false(world: World, data: st.DataObject) -> None:
    there = data.draw(st.sampled_from(world.rows))

    verdict = check(world.writes, rows=world.rows, orphans=[there, "r.c.stranger"])

    assert verdict.orphans
    assert set(verdict.orphans.false) == {there, "r.c.stranger"}
    assert not verdict.kept
