"""What the store says of a run that broke a promise is kept so that it can be read again."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from evac.config import load
from evac.core.errors import EvacError
from evac.engine.codec import encode
from evac.engine.journal import COUNTER
from evac.engine.signing import SIGNERS
from evac.engine.verifying import parse_record, verify
from evac.lab.matrix.evidence import tell
from evac.opened import OpenEstate
from evac.stores.memory import MemoryStore
from fakes.evidence import signed_run
from fakes.shapes import shapes

STARTER = Path(str(resources.files("evac.config") / "estates" / "starter.yaml"))
RECORD = signed_run(shapes()[0])


async def test_each_run_is_kept_as_a_record_that_can_be_verified(tmp_path: Path) -> None:
    store, loaded = MemoryStore(), load(STARTER)
    entries = {f"runs/{RECORD.run}/{n:06d}": line for n, line in enumerate(RECORD.entries, start=1)}
    known = {SIGNERS + signer.key: encode(signer) for signer in RECORD.signers}
    await store.commit(expect={}, put={**entries, **known, COUNTER: str(RECORD.run).encode()})
    named = replace(loaded, estate=replace(loaded.estate, name=RECORD.estate))

    with pytest.raises(EvacError, match="nothing is known of this estate yet"):
        await tell(OpenEstate(loaded=named, store=store, by="a test"), tmp_path)

    file = tmp_path / f"run-{RECORD.run}.jsonl"
    assert verify(parse_record(file.read_bytes(), name=file.name)).good
    assert not (tmp_path / "view.json").exists()
