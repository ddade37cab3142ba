"""The contract of every driver (`ports.Driver`), told against each one's real system: see `driver_world`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from driver_world import DriverWorld, worlds

from evac.core.errors import DriverError, Rejected, Unavailable
from evac.core.observation import MemberState
from evac.ports import Truth

WORLDS = worlds()
each_world = pytest.mark.parametrize("world", list(WORLDS.values()), ids=list(WORLDS))
each_story = pytest.mark.parametrize(
    ("world", "name"),
    [pytest.param(world, name, id=f"{id_}-{name}") for id_, world in WORLDS.items() for name in world.stories],
)
each_refusal = pytest.mark.parametrize(
    ("world", "name"),
    [pytest.param(world, name, id=f"{id_}-{name}") for id_, world in WORLDS.items() for name in world.refusals],
)


@each_world
def test_every_verb_it_supports_is_told(world: DriverWorld) -> None:
    told = {name.split()[0] for name in world.stories}
    assert told == {str(verb) for verb in world.kind.support.verbs}
    assert world.kind.support.undoable <= world.kind.support.verbs
    assert world.kind.support.verified_on


@each_world
async def test_a_healthy_world_is_seen_and_passes_its_check(world: DriverWorld, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        for driver in stage.observed:
            assert isinstance(await driver.observe(), MemberState)
            findings = await driver.check()
            assert findings
            assert [f for f in findings if not f.ok] == []


@each_story
async def test_twice_is_once_and_undo_restores(world: DriverWorld, name: str, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        assert set(stage.stories) == set(world.stories)
        story = stage.stories[name]
        await story.before()
        driver, action = story.driver, story.action
        before = await story.look()

        if not story.settled:
            assert (await driver.holds(action)).truth is Truth.NO
        receipt = await driver.do(action)
        after = await story.look()
        held = await driver.holds(action)
        assert held.truth is Truth.YES or story.settled
        if held.truth is Truth.YES:
            assert held.receipt is not None
            assert held.receipt.kind == receipt.kind

        again = await driver.do(action)
        assert again.kind == receipt.kind
        assert await story.look() == after

        if action.verb not in world.kind.support.undoable:
            return
        undo = replace(action, args={**action.args, "receipt": dict(receipt.facts)})
        await driver.undo(undo)
        assert await story.look() == before
        await driver.undo(undo)
        assert await story.look() == before
        if not story.settled:
            assert (await driver.holds(action)).truth is Truth.NO


@each_story
async def test_a_lower_term_is_refused_and_changes_nothing(world: DriverWorld, name: str, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        story = stage.stories[name]
        if story.settled:
            pytest.skip("it changes nothing, so no term guards it")
        await story.before()
        await story.driver.do(story.action)
        after = await story.look()
        stale = replace(story.action, term=type(story.action.term)(story.action.term - 1))
        with pytest.raises(Rejected):
            await story.driver.do(stale)
        assert await story.look() == after


@each_refusal
async def test_what_it_must_refuse_is_rejected_with_its_reason(world: DriverWorld, name: str, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        assert set(stage.refused) == set(world.refusals)
        driver, action, words = stage.refused[name]
        with pytest.raises(Rejected) as refusal:
            await driver.do(action)
        assert words in str(refusal.value)
        _keeps(stage.secrets, refusal.value)


@each_world
async def test_silence_is_unavailable_and_its_truth_unknown(world: DriverWorld, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        with pytest.raises(Unavailable) as seen:
            await stage.silent.observe()
        _keeps(stage.secrets, seen.value)
        assert (await stage.silent.holds(stage.silent_action)).truth is Truth.UNKNOWN
        with pytest.raises(Unavailable) as done:
            await stage.silent.do(stage.silent_action)
        _keeps(stage.secrets, done.value)
        assert [f for f in await stage.silent.check() if not f.ok]


@each_world
async def test_a_closed_driver_can_be_closed_again(world: DriverWorld, tmp_path: Path) -> None:
    async with world.raised(tmp_path) as stage:
        for driver in stage.observed:
            await driver.close()
            await driver.close()


def _keeps(secrets: object, error: DriverError) -> None:
    assert isinstance(secrets, (list, tuple))
    for secret in secrets:
        assert secret not in str(error)
