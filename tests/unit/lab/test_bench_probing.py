from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from evac.lab.bench.probing import FIRST, GROWTH, Most, Step, as_table, main, most, served, step

PACE = 20.0


def made(due: float, *, made: float | None = None, failed: int = 0, late: float = 1.0) -> Step:
    return Step(due=due, made=due if made is None else made, failed=failed, late=late, processor=0.5)


@pytest.mark.parametrize(
    "worse", [lambda due: made(due, made=0.98 * due), lambda due: made(due, failed=1), lambda due: made(due, late=1.6)]
)
def test_the_most_is_the_last_step_that_is_held(worse: Callable[[float], Step]) -> None:
    found = most(lambda rate: made(rate) if rate <= FIRST * GROWTH**2 else worse(rate))
    assert found.held is not None
    assert (found.held.due, found.beyond.due) == (FIRST * GROWTH**2, FIRST * GROWTH**3)
    assert most(worse).held is None


def test_what_ended_it_is_told() -> None:
    busy = Step(due=1000.0, made=800.0, failed=0, late=2.0, processor=0.99)
    assert Most(held=made(800.0), beyond=busy).limit == "the agent's processor"
    assert Most(held=None, beyond=made(200.0, failed=3)).limit.startswith("the servers")
    assert as_table({"http": Most(held=made(800.0), beyond=busy), "tcp": Most(held=None, beyond=busy)}).row_count == 2


@pytest.mark.parametrize("kind", ["http", "tcp", "valkey", "sql"])
def test_an_agent_asks_real_servers(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def play() -> Step:
        async with served(tmp_path_factory.mktemp("served"), [kind]) as addresses:
            return await asyncio.to_thread(step, kind, addresses[kind], PACE, 1.0)

    found = asyncio.run(play())
    assert found.due == PACE
    assert found.failed == 0
    assert found.made > 0


def test_a_server_that_is_not_there_is_not_held() -> None:
    found = step("tcp", {"host": "127.0.0.1", "port": 1}, PACE, 1.0)
    assert found.failed > 0
    assert not found.held


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kinds", "http,carrier-pigeon"])
    assert "no such kind: carrier-pigeon" in capsys.readouterr().err
