"""A group's memory, carried on run by run and taken over by another leader, is what all of its journals say."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from evac.core.memory import Memory, remember
from evac.core.policy import Guard
from evac.core.run import Outcome, Run, RunId
from evac.engine.codec import decode, encode
from fakes.rehearsal import play
from fakes.remembering import remembered
from fakes.shapes import shapes

GUARD = Guard()
PLAYED = [play(s.plan, s.world()).run for s in shapes()]
ENDS = st.tuples(
    st.sampled_from(PLAYED),
    st.sampled_from(Outcome),
    st.sampled_from(["evac", "alice"]),
    st.booleans(),
    st.timedeltas(timedelta(), timedelta(hours=2)),
)


def ended(n: int, run: Run, outcome: Outcome, by: str, *, triggered: bool) -> Run:
    """Return a run as that number, with its end and who decided on it said to be others."""
    assert run.settled is not None
    decision = {"trigger": {"trigger": "full"}} if triggered else {}
    opened = replace(run.opened, run=RunId(str(n)), decided_by=by, decision=decision)
    return replace(run, opened=opened, settled=replace(run.settled, outcome=outcome))


@given(st.lists(ENDS, max_size=30), st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_what_is_carried_on_is_what_all_runs_say(
    ends: list[tuple[Run, Outcome, str, bool, timedelta]], by: timedelta
) -> None:
    memory, at, runs = Memory(), timedelta(days=20000), []
    for n, (run, outcome, who, triggered, later) in enumerate(ends, start=1):
        at += later
        runs.append((ended(n, run, outcome, who, triggered=triggered), at))
        memory = decode(encode(remember(memory, runs[-1][0], at=at, guard=GUARD)), Memory)
    there = memory.on_clock(lambda moment: moment + by)
    found = {f.name: value for f in fields(there) if (value := getattr(there, f.name)) and f.name != "runs"}
    assert found == remembered([(run, when + by) for run, when in runs], GUARD)
    assert there.runs == len(runs)
