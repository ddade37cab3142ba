"""The record of a lease as one process reads and writes it: whose it is, and since when it has not changed.

Intuition: a version was sent before anybody saw it, so whoever counts from the return of its first read counts too
late, never too early. A store that was restored is in another life: its record may be older than a move and names
nobody, and a version may come back that was renewed since, so that a count begins again.

What this is not: what follows from it (`engine.holding`), or the times (`core.timing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import StoreUnavailable
from evac.core.estate import ComponentId
from evac.core.lease import Awaited, Held, Tenure
from evac.engine.codec import decode, encode
from evac.ports import Clock, Record, Store


def lease_key(component: ComponentId) -> str:
    return f"leases/{component}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A lease's record as it was read in one life of the store, and since when it has not changed."""

    record: Record | None
    awaited: Awaited
    life: str

    @property
    def version(self) -> int:
        return self.record.version if self.record else 0

    @property
    def tenure(self) -> Tenure | None:
        """Whose it is: what another life of the store left names nobody."""
        tenure = decode(self.record.value, Tenure) if self.record else None
        return tenure if tenure is not None and tenure.life == self.life else None

    @property
    def of_another_life(self) -> bool:
        return self.record is not None and self.tenure is None


class LeaseRecord:
    """One component's lease in the store."""

    def __init__(self, component: ComponentId, *, store: Store, clock: Clock) -> None:
        self.life = ""
        """The store's incarnation, as it was asked for last: before the count of what is awaited began, or with it."""
        self._key = lease_key(component)
        self._store = store
        self._clock = clock
        self._awaited: Awaited | None = None

    async def read(self, *, near: bool = False) -> tuple[Record | None, Awaited]:
        """Read the record; its age counts from the return of the first read that gave this version.

        A `near` read will do for that: it may be behind, and then the count begins later, or the taking fails.
        """
        record = await self._store.get(self._key, near=near)
        now = self._clock.now()
        version = record.version if record else 0
        self._awaited = self._awaited.seen(version, now) if self._awaited else Awaited(version=version, read_at=now)
        return record, self._awaited

    async def look(self) -> Look:
        """Read the record as it is, and in which life of the store. A count that began in another life begins again."""
        life, (record, awaited) = await asyncio.gather(self._store.incarnation(), self.read())
        if life != self.life:
            self.life = life
            awaited = self._awaited = Awaited(version=awaited.version, read_at=self._clock.now())
        return Look(record=record, awaited=awaited, life=life)

    async def write(
        self, tenure: Tenure, version: int, *, within: timedelta, also: Mapping[str, int] | None = None
    ) -> Held:
        """Write whose it is in the place of a version, in the life of the store that the tenure names.

        Raises `Conflict`, and `StoreUnavailable`, also when no answer comes in time.
        """
        sent_at = self._clock.now()
        try:
            async with asyncio.timeout(within.total_seconds()):
                expect = {self._key: version, **(also or {})}
                written = await self._store.commit(expect=expect, put={self._key: encode(tenure)}, life=tenure.life)
        except TimeoutError:
            raise StoreUnavailable(f"no answer in {within.total_seconds():g} s") from None
        return Held(version=written, sent_at=sent_at)
