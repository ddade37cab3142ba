"""Runs that were really played, signed and sealed: what there is to verify."""

from __future__ import annotations

import asyncio
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evac.core.policy import Guard
from evac.engine.codec import encode
from evac.engine.executor import execute
from evac.engine.orders import obey
from evac.engine.signing import Signer, make_known
from evac.engine.verifying import RunRecord, read_record
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.opening import open_run
from fakes.shapes import Shape

ESTATE = "shop"


def signer_of(name: str, *, estate: str = ESTATE) -> Signer:
    """Return the same signer for the same name."""
    return Signer(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()), estate=estate)


def signed_run(shape: Shape) -> RunRecord:
    """Return the record of a run in which every agent signed, each with its own key, and the leader sealed the end."""
    return time.run(_signed_run(shape))


async def _signed_run(shape: Shape) -> RunRecord:
    store, clock, systems = MemoryStore(), time.VirtualClock(), shape.world()
    await store.commit(expect={}, put={f"placement/{shape.plan.group}": encode(shape.plan.before)})
    leader = signer_of(next(iter(shape.estate.regions)))
    run_id = await open_run(
        shape.plan, store=store, clock=clock, decided_by="a test", symptom_at=clock.now(), decision={}, signer=leader
    )
    async with asyncio.TaskGroup() as tasks:
        agents = []
        for region in shape.estate.regions:
            signer = signer_of(region)
            await make_known(signer, [region], store=store, now=clock.wall())
            members = systems.members(region)
            agents.append(tasks.create_task(obey(region, store=store, members=members, clock=clock, signer=signer)))
        await execute(run_id, store=store, clock=clock, by="a leader", guard=Guard(), signer=leader)
        for agent in agents:
            agent.cancel()
    return await read_record(run_id, estate=ESTATE, store=store)
