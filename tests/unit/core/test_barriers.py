"""What waits for what across the chains of a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.barriers import with_barrier, with_clients, with_way_back
from evac.core.estate import ComponentId, RegionId
from evac.core.plan import Action, Phase, Step, StepId, Term, Verb
from fakes.waiting import waits_of

ACTION = Action(component=ComponentId("db"), region=RegionId("a"), verb=Verb.PROMOTE, term=Term(2), args={})


def step(name: str, verb: Verb, phase: Phase, *needs: str, optional: bool = False) -> Step:
    action = replace(ACTION, verb=verb)
    needed = tuple(map(StepId, needs))
    pivot = verb is Verb.PROMOTE
    return Step(id=StepId(name), action=action, phase=phase, needs=needed, pivot=pivot, optional=optional)


def needs(steps: list[Step]) -> dict[str, tuple[str, ...]]:
    return {str(s.id): tuple(map(str, waits_of(s, steps))) for s in steps}


def test_nothing_is_stopped_before_all_is_prepared_and_nothing_promoted_before_all_is_stopped() -> None:
    steps = [
        step("prepare-1", Verb.PREPARE, Phase.PREPARE),
        step("prepare-2", Verb.PREPARE, Phase.PREPARE),
        step("stop-1", Verb.STOP, Phase.FENCE, "prepare-1"),
        step("stop-2", Verb.STOP, Phase.FENCE, "prepare-2"),
        step("promote-1", Verb.PROMOTE, Phase.PROMOTE, "stop-1"),
        step("promote-2", Verb.PROMOTE, Phase.PROMOTE, "stop-2"),
        step("follow", Verb.FOLLOW, Phase.PROMOTE, "promote-1"),
    ]
    assert needs(with_barrier(steps)) == {
        "prepare-1": (),
        "prepare-2": (),
        "stop-1": ("prepare-1", "prepare-2"),
        "stop-2": ("prepare-2", "prepare-1"),
        "promote-1": ("stop-1", "stop-2"),
        "promote-2": ("stop-2", "stop-1"),
        "follow": ("promote-1",),
    }
    assert {s.id: s.needs for s in with_barrier(steps)} == {s.id: s.needs for s in steps}, "nothing is listed"


@pytest.mark.parametrize("planned", [True, False])
def test_clients_are_sent_over_once_what_they_need_is_promoted_and_their_way_is_tried_once_all_have_turned(
    planned: bool,
) -> None:
    """A planned move promotes what is merely wanted last: until then a database that is refused lets it turn back."""
    steps = [
        step("promote", Verb.PROMOTE, Phase.PROMOTE),
        replace(step("wanted", Verb.PROMOTE, Phase.PROMOTE), action=replace(ACTION, component=ComponentId("cache"))),
        step("shift-1", Verb.SHIFT, Phase.SHIFT),
        step("shift-2", Verb.SHIFT, Phase.SHIFT),
        step("shift-3", Verb.SHIFT, Phase.SHIFT, optional=True),
        step("follow", Verb.FOLLOW, Phase.PROMOTE, "promote"),
        step("verify", Verb.VERIFY, Phase.VERIFY, "follow"),
    ]
    found = needs(with_clients(steps, vital={ComponentId("db")}, planned=planned))
    assert found["shift-1"] == found["shift-2"] == found["shift-3"] == ("promote",)
    assert found["verify"] == ("follow", "shift-1", "shift-2")
    assert found["wanted"] == (("promote",) if planned else ())
    assert found["promote"] == ()
    last = [s.id for s in with_clients(steps, vital={ComponentId("db")}, planned=planned) if s.goes_last]
    assert last == (["wanted"] if planned else [])
    assert found["follow"] == ("promote",)


def test_what_is_merely_wanted_is_promoted_after_the_fences_of_all_else_and_of_nothing_that_is_wanted_too() -> None:
    steps = [
        step("refuse", Verb.REFUSE, Phase.FENCE),
        step("expire", Verb.EXPIRE, Phase.FENCE),
        step("wanted-fence", Verb.EXPIRE, Phase.FENCE, optional=True),
        step("wanted-too-fence", Verb.EXPIRE, Phase.FENCE, optional=True),
        step("promote", Verb.PROMOTE, Phase.PROMOTE, "refuse"),
        step("wanted", Verb.PROMOTE, Phase.PROMOTE, "wanted-fence", optional=True),
    ]
    found = needs(with_way_back(steps))
    assert found["wanted"] == ("wanted-fence", "refuse", "expire")
    assert found["promote"] == ("refuse", "expire")


def test_nothing_is_promoted_before_every_lease_is_over_and_every_machine_off() -> None:
    steps = [
        step("refuse-1", Verb.REFUSE, Phase.FENCE),
        step("expire-2", Verb.EXPIRE, Phase.FENCE),
        step("switch-off-3", Verb.SWITCH_OFF, Phase.FENCE),
        step("promote-1", Verb.PROMOTE, Phase.PROMOTE, "refuse-1"),
        step("promote-2", Verb.PROMOTE, Phase.PROMOTE, "expire-2"),
        step("follow", Verb.FOLLOW, Phase.PROMOTE, "promote-1"),
    ]
    found = needs(with_way_back(steps))
    assert found["promote-1"] == ("refuse-1", "expire-2", "switch-off-3")
    assert found["promote-2"] == ("expire-2", "switch-off-3")
    assert found["follow"] == ("promote-1",)
    assert found["expire-2"] == ()
