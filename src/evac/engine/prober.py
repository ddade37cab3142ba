"""An agent's eyes: every probe of the estate, and every member of its own region, looked at once an interval;
and what already watches from there, asked for all it watches (`watching`).

Intuition: three things may become of a look. The target did its job; it did not, in time or at all; or the look
itself could not be made (the place is gone, a secret is missing, a probe has a bug). The third says nothing of the
target and becomes no observation: what nobody has seen is unknown, never down.

Where several probes are declared for one target they are one look, asked side by side: the target does its job when
all of them find so, and the first that does not says why.

What this is not: the publishing (`agent`), or a judgement.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import structlog

from evac.core.errors import EvacError
from evac.core.estate import ComponentId, Estate, Observer, Probe, RegionId, ServiceId
from evac.core.making import maker
from evac.core.observation import Instant, MemberSeen, MemberState, Observation, Probed
from evac.core.policy import Detection
from evac.engine.asking import Answered, Missed, Rhythm, keep_asking
from evac.engine.watching import keep_watching
from evac.ports import BadAnswer, Clock, Driver, ObserverKind, Place, ProbeKind, Prober

_log = structlog.get_logger(__name__)
_make_probed = maker(Probed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unseen:
    """The look could not be made."""

    why: str


class Target(NamedTuple):
    """What a look is at: a service in a region, over a connection that is kept or as a client."""

    service: ServiceId
    region: RegionId
    as_client: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """What an agent looks at, and from where. `seen` must return at once."""

    region: RegionId
    estate: Estate
    place: Place
    probe_kinds: Mapping[str, ProbeKind]
    members: Mapping[ComponentId, Driver]
    clock: Clock
    chance: random.Random
    seen: Callable[[Observation], None]
    observer_kinds: Mapping[str, ObserverKind] = field(default_factory=dict)

    async def look(self) -> None:
        """Look until cancelled; every target in a task of its own, so that one that hangs delays no other."""
        async with asyncio.TaskGroup() as group:
            for target, probes in targets(self.estate).items():
                group.create_task(self._watch(target, probes), name=f"probe {target.service}@{target.region}")
            for component, driver in self.members.items():
                group.create_task(self._watch_member(component, driver), name=f"observe {component}")
            for observer in self.estate.observers:
                if observer.vantage == self.region:
                    group.create_task(self._listen(observer), name=f"observer {observer.name}")

    async def _listen(self, observer: Observer) -> None:
        kind = self.observer_kinds[observer.kind]
        await keep_watching(observer, kind=kind, place=self.place, clock=self.clock, chance=self.chance, seen=self.seen)

    async def _watch(self, target: Target, probes: Sequence[Probe]) -> None:
        prober = _Together([_Opened(self.probe_kinds[p.kind], p, self.place) for p in probes])
        blind = ""

        def hear(heard: Answered[str | _Unseen] | Missed) -> None:
            nonlocal blind
            if isinstance(heard, Missed):
                reason, took = _silence(heard), heard.after
            elif isinstance(heard.value, _Unseen):
                if heard.value.why != blind:
                    blind = heard.value.why
                    _log.warning("cannot look: counts as unknown", service=target.service, at=target.region, why=blind)
                return
            else:
                reason, took = heard.value, heard.took
            blind = ""
            self.seen(_probed(target, self.region, at=self.clock.now(), took=took, reason=reason))

        try:
            rhythm = probe_rhythm(self.estate.detection, as_client=target.as_client)
            await keep_asking(prober.ask, hear, rhythm=rhythm, clock=self.clock, chance=self.chance)
        finally:
            await prober.close()

    async def _watch_member(self, component: ComponentId, driver: Driver) -> None:
        async def ask() -> MemberState | _Unseen:
            try:
                return await driver.observe()
            except (EvacError, OSError) as error:
                return _Unseen(why=str(error) or type(error).__name__)
            except Exception as error:  # a bug in one driver must not end the agent: its member counts as unknown
                _log.exception("driver broke: counts as unknown", component=component, at=self.region)
                return _Unseen(why=f"the driver has a bug: {error!r}")

        def hear(heard: Answered[MemberState | _Unseen] | Missed) -> None:
            state: MemberState | None = None
            reason = ""
            if isinstance(heard, Missed):
                reason = _silence(heard)
            elif isinstance(heard.value, _Unseen):
                reason = heard.value.why
            else:
                state = heard.value
            at = self.clock.now()
            self.seen(MemberSeen(at=at, component=component, region=self.region, state=state, reason=reason))

        rhythm = probe_rhythm(self.estate.detection, as_client=False)
        await keep_asking(ask, hear, rhythm=rhythm, clock=self.clock, chance=self.chance)


def _silence(missed: Missed) -> str:
    return f"no answer in {missed.after.total_seconds():.1f} s"


def targets(estate: Estate) -> Mapping[Target, Sequence[Probe]]:
    """Return what is looked at, each with all the probes that are declared for it, in their order."""
    found: dict[Target, list[Probe]] = {}
    for probe in estate.probes:
        found.setdefault(Target(probe.service, probe.region, probe.as_client), []).append(probe)
    return found


def _probed(target: Target, vantage: RegionId, *, at: Instant, took: timedelta, reason: str) -> Probed:
    return _make_probed(
        at=at,
        vantage=vantage,
        service=target.service,
        region=target.region,
        ok=not reason,
        took=took,
        reason=reason,
        as_client=target.as_client,
        answered=isinstance(reason, BadAnswer),
    )


def probe_rhythm(detection: Detection, *, as_client: bool) -> Rhythm:
    """Return how one probe is asked.

    A client opens a new connection each time and is not patient, so neither is its probe: each answer counts for
    itself. Other probes keep their connection, and their silence counts on until the target is down.
    """
    if as_client:
        return Rhythm(every=detection.client_interval, within=detection.client_timeout)
    return Rhythm(every=detection.interval, within=detection.timeout, patience=detection.failures - 1)


class _Together:
    """Several probers of one target, asked at the same time."""

    def __init__(self, probers: Sequence[_Opened]) -> None:
        self._probers = probers

    async def ask(self) -> str | _Unseen:
        """Return the first reason why the target fails; else why one of them could not look; else that all is well."""
        if len(self._probers) == 1:
            return await self._probers[0].ask()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(prober.ask()) for prober in self._probers]
        answers = [task.result() for task in asked]
        failed = next((a for a in answers if a and not isinstance(a, _Unseen)), "")
        return failed or next((a for a in answers if isinstance(a, _Unseen)), "")

    async def close(self) -> None:
        for prober in self._probers:
            await prober.close()


class _Opened:
    """A prober that is opened by its first question, so that what cannot be opened yet is tried again."""

    def __init__(self, kind: ProbeKind, probe: Probe, place: Place) -> None:
        self._kind = kind
        self._probe = probe
        self._place = place
        self._prober: Prober | None = None

    async def ask(self) -> str | _Unseen:
        try:
            if self._prober is None:
                self._prober = await self._kind.open(self._probe, self._place)
            return await self._prober.ask()
        except OSError as error:
            return str(error) or type(error).__name__
        except EvacError as error:
            return _Unseen(why=str(error))
        except Exception as error:  # a bug in one probe must neither end the agent nor look like an outage
            _log.exception("probe broke: counts as unknown", probe=self._probe.kind, service=self._probe.service)
            return _Unseen(why=f"the probe has a bug: {error!r}")

    async def close(self) -> None:
        if self._prober is not None:
            await self._prober.close()
