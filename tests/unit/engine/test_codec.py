"""Values survive their way through the store, and what does not fit is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.decision import Ask, Decision
from evac.core.plan import Placement, Plan
from evac.core.run import Event, Receipt
from evac.core.traffic import Shift
from evac.engine.codec import PACKED_ABOVE, decode, encode, from_plain, packed, plan_hash, to_plain, unpacked
from evac.sim.estates import EAST, GROUP, WEST
from fakes.estates import move
from fakes.rehearsal import play
from fakes.shapes import shapes


def test_every_entry_of_every_shape_comes_back_as_it_was() -> None:
    for shape in shapes():
        for event in play(shape.plan, shape.world()).events:
            assert decode(encode(event), Event) == event


def test_the_same_value_is_the_same_bytes_and_another_plan_has_another_hash() -> None:
    plan = shapes()[0].plan
    again: Plan = decode(encode(plan), Plan)
    assert encode(again) == encode(plan)
    assert plan_hash(again) == plan_hash(plan) != plan_hash(replace(plan, notes=("other",)))
    assert list(to_plain(plan)) == list(to_plain(again))


def test_a_plan_from_before_there_were_barriers_is_read_and_keeps_its_hash() -> None:
    plan = next(shape.plan for shape in shapes() if any(s.behind for s in shape.plan.steps))
    plain = to_plain(plan)
    for step in plain["steps"]:
        step.pop("before", None)
        step.pop("behind", None)
    old: Plan = from_plain(plain, Plan)
    assert not any(s.before or s.behind for s in old.steps)
    assert to_plain(old) == plain
    assert plan_hash(old) != plan_hash(plan)


def test_a_decision_that_waits_for_a_word_keeps_what_it_waits_with() -> None:
    shift = Shift(group=GROUP, source=EAST, target=WEST, reasons=("shut",))
    for act in (shift, move(EAST, WEST)):
        asked = Ask(group=GROUP, move=act, reasons=("this group asks",))
        assert decode(encode(asked), Decision) == asked


def test_a_record_from_before_doors_were_kept_is_read() -> None:
    plain = to_plain(shapes()[0].plan.before)
    assert plain.pop("entry") is None
    assert from_plain(plain, Placement) == shapes()[0].plan.before


def test_facts_are_kept_as_plain_data() -> None:
    receipt = Receipt(kind="x", facts={"a": (1, {"b": [None, True]}), "c": 0.5})
    assert encode(receipt) == b'{"facts":{"a":[1,{"b":[null,true]}],"c":0.5},"kind":"x"}'


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"not a Receipt: .*surplus"):
        from_plain({"kind": "x", "surplus": 1}, Receipt)
    with pytest.raises(ValueError, match="not a timedelta"):
        from_plain(None, timedelta)
    with pytest.raises(ValueError, match="value of that union"):
        decode(b'{"is":"Unheard"}', Event)


def test_a_large_record_is_packed_and_read_as_what_it_is() -> None:
    small, large = encode(["a"]), encode(["a name"] * PACKED_ABOVE)
    assert packed(small) == small
    assert len(packed(large)) < PACKED_ABOVE
    assert decode(packed(large), list[str]) == ["a name"] * PACKED_ABOVE
    assert unpacked(packed(large)) == large


def test_a_packed_record_that_is_damaged_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpacked(b"x\x01nothing")
