"""Whoever signs: shows nothing of its key, and is known to the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from evac.core.errors import Conflict
from evac.engine.keys import open_signer
from evac.engine.signing import known_signers, make_known
from evac.sim import time
from evac.sim.stores import FailingStore
from evac.stores.memory import MemoryStore
from fakes.evidence import signer_of

WALL = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_signer_shows_nothing_of_its_key(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    signer = open_signer(file, estate="shop")
    secret = "".join(file.read_text().splitlines()[1:-1])
    assert secret not in f"{signer!r} {signer} {vars(signer)}"


def test_the_store_knows_a_key_with_all_regions_it_ever_signed_for() -> None:
    async def tell() -> None:
        store, signer = MemoryStore(), signer_of("us-east-1")
        await make_known(signer, ["us-east-1"], store=store, now=WALL)
        before = await store.revision()
        await make_known(signer, ["us-east-1"], store=store, now=WALL.replace(hour=13))
        assert await store.revision() == before, "nothing new is not written"
        await make_known(signer, ["eu-west-1"], store=store, now=WALL.replace(hour=14))
        (known,) = await known_signers(store)
        assert known.regions == ("eu-west-1", "us-east-1")
        assert known.since == WALL

    time.run(tell())


def test_a_key_that_another_process_makes_known_meanwhile_is_left_to_it() -> None:
    async def tell() -> None:
        store, signer = MemoryStore(), signer_of("us-east-1")
        raced = FailingStore(store=store, trouble=lambda number, moment: Conflict("somebody was quicker"))
        await make_known(signer, ["us-east-1"], store=raced, now=WALL)
        assert await known_signers(store) == ()

    time.run(tell())
