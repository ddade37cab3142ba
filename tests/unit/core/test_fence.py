"""What opens a promotion, receipt by receipt: another component's, another region's, another's word do not (S3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.fence import QUORUM, WORD, unfenced
from evac.core.observation import Json
from evac.core.plan import Action, Phase, Placement, Plan, RunKind, Step, StepId, SyncSet, Term, Verb

A, B, C, D = (RegionId(name) for name in "abcd")
DB, CACHE = ComponentId("db"), ComponentId("cache")


def step(name: str, verb: Verb, region: RegionId, *, component: ComponentId = DB, **args: Json) -> Step:
    action = Action(component=component, region=region, verb=verb, term=Term(2), args=args)
    phase = Phase.PROMOTE if verb is Verb.PROMOTE else Phase.FENCE
    return Step(id=StepId(name), action=action, phase=phase, pivot=verb is Verb.PROMOTE)


def why(
    promotion: Step, *fences: Step, receipts: Mapping[str, str], sync: SyncSet | None = None, word: str = ""
) -> str:
    """Why the promotion is not allowed yet in a move from a to b, with these receipts and a word for one component."""
    before = Placement(group=GroupId("g"), primary=A, term=Term(1), sync={DB: (sync,)} if sync else {})
    plan = Plan(
        kind=RunKind.FAILOVER,
        group=before.group,
        source=A,
        target=B,
        term=Term(2),
        steps=(*fences, promotion),
        before=before,
        after=replace(before, primary=B),
    )
    kinds = {StepId(name): kind for name, kind in receipts.items()}
    return unfenced(plan, promotion, kinds, word=(ComponentId(word),) if word else ())


PROMOTION = step("promote", Verb.PROMOTE, B)


def resting_on(args: Mapping[str, Json]) -> Step:
    return replace(PROMOTION, action=replace(PROMOTION.action, args=args))


@pytest.mark.parametrize(
    ("kind", "opens"), [("stopped", True), ("device", True), ("expired", True), ("starved", False)]
)
def test_a_receipt_that_the_old_primary_itself_is_out_is_enough(kind: str, opens: bool) -> None:
    assert (why(PROMOTION, step("stop", Verb.STOP, A), receipts={"stop": kind}) == "") is opens


def test_a_receipt_of_another_component_proves_nothing_of_this_one() -> None:
    other = step("stop", Verb.STOP, A, component=CACHE)
    assert why(PROMOTION, other, receipts={"stop": "stopped"}) == "nothing proves that db in a has stopped"


@pytest.mark.parametrize("verb", [Verb.EXPIRE, Verb.SWITCH_OFF])
def test_a_fence_from_afar_is_about_the_region_it_names_and_not_the_one_that_waited(verb: Verb) -> None:
    kind = {Verb.EXPIRE: "expired", Verb.SWITCH_OFF: "device"}[verb]
    assert why(PROMOTION, step("f", verb, B, old="a"), receipts={"f": kind}) == ""
    assert why(PROMOTION, step("f", verb, A, old="c"), receipts={"f": kind}) != ""


def test_a_standby_that_was_stopped_is_not_the_old_primary() -> None:
    assert why(PROMOTION, step("stop", Verb.STOP, C), receipts={"stop": "stopped"}) != ""


def test_only_who_must_acknowledge_can_starve_by_refusing() -> None:
    fences = [step(f"refuse-{r}", Verb.REFUSE, r) for r in (B, C, D)]
    both = SyncSet(acks=1, standbys=(B, C))
    assert "1 of b, c refuse it, 2 must" in why(
        PROMOTION, *fences, receipts={"refuse-b": "starved", "refuse-d": "starved"}, sync=both
    )
    assert why(PROMOTION, *fences, receipts={"refuse-b": "starved", "refuse-c": "starved"}, sync=both) == ""


def test_who_waits_for_nobody_cannot_be_starved() -> None:
    nobody = SyncSet(acks=0, standbys=(B, C))
    fences = [step(f"refuse-{r}", Verb.REFUSE, r) for r in (B, C)]
    receipts = {"refuse-b": "starved", "refuse-c": "starved"}
    assert "2 of b, c refuse it, 3 must" in why(PROMOTION, *fences, receipts=receipts, sync=nobody)


def test_a_word_opens_what_it_was_given_for_and_nothing_else() -> None:
    asked = resting_on({WORD: "bob"})
    assert why(asked, receipts={}, word="db") == ""
    assert why(asked, receipts={}, word="cache") == "the word of bob, which it is to rest on, is not in the journal"
    assert why(asked, step("stop", Verb.STOP, A), receipts={"stop": "stopped"}) != "", "nor does another receipt"
    assert why(PROMOTION, receipts={}, word="db") != "", "a plan that rests on no word is not opened by one"


def test_a_promotion_that_is_to_keep_all_wants_the_refusals() -> None:
    asked, sync = resting_on({QUORUM: True}), SyncSet(acks=1, standbys=(B,))
    fences = [step("stop", Verb.STOP, A), step("refuse-b", Verb.REFUSE, B)]
    assert why(asked, *fences, receipts={"stop": "stopped"}, sync=sync) != ""
    assert why(asked, *fences, receipts={"stop": "stopped", "refuse-b": "starved"}, sync=sync) == ""
