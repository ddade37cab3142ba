"""How real clients fare, as HAProxy counts it: the difference of two looks at its counters, by service and region.

Intuition: a load balancer sees every client, and evac's probes are a few. One `show stat` tells of all backends; what
became of the requests since the last one is a window with so many requests, of which so many failed.

Measured on 2.8.25: a server's `econ` and `eresp` count what never reached a client as its answer (HAProxy itself says
502, 503 or 504 then, which is in no server's `hrsp_5xx`); a connection that is reset before the answer counts twice in
`eresp`, and a client that goes away while it waits counts in it too. `stot` counts each try, so that less the retries
(`wretr`) and those that went to another server (`wredis`) it is the clients. So what failed is what the errors say, and
no more than the clients that were sent there and have had no good answer.

What this is not: a judgement (`core.gray`), and not whether HAProxy's own checks find a server well.
"""

from __future__ import annotations

import asyncio
import csv
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import Observer, RegionId, ServiceId
from evac.drivers.haproxy.api import NotRunning, RuntimeApi
from evac.drivers.haproxy.settings import CountingSettings
from evac.ports import Counted, Finding, Place, Watching

_GOOD = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_other")
_BAD = ("hrsp_5xx", "econ", "eresp")
_MOVED = ("wretr", "wredis")

Target = tuple[ServiceId, RegionId]
Server = tuple[str, str]
"""A backend and a server of it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one server has been counted since HAProxy's start."""

    tries: int
    good: int
    bad: int


class CountingKind:
    """The kind `haproxy`, as an observer."""

    name = "haproxy"
    settings = CountingSettings
    counts = True

    def witnesses(self, settings: CountingSettings) -> frozenset[str]:
        return frozenset(api for api in settings.api if not _is_here(api))

    async def open(self, observer: Observer, place: Place) -> Watching:
        return HaproxyObserver(observer, place)


class HaproxyObserver:
    """The load balancers at one vantage point."""

    def __init__(self, observer: Observer, place: Place) -> None:
        settings = observer.settings
        assert isinstance(settings, CountingSettings)
        self._settings = settings
        self._targets = observer.targets
        self._apis = tuple(RuntimeApi(place=place, address=address) for address in settings.api)
        self._before: dict[RuntimeApi, Mapping[Server, Tally]] = {}
        self._asked_at: float | None = None

    async def ask(self) -> Sequence[Counted]:
        """Of an instance that did not answer, or was started anew, the next answer is the first one again."""
        now = asyncio.get_running_loop().time()
        tallies = await self._tallies()
        before, self._before = self._before, tallies
        since, self._asked_at = self._asked_at, now
        if since is None:
            return []
        window = timedelta(seconds=now - since)
        sums: dict[Target, tuple[int, int]] = {}
        for api, counted in tallies.items():
            for target, requests, failed in self._since(before.get(api, {}), counted):
                had = sums.get(target, (0, 0))
                sums[target] = had[0] + requests, had[1] + failed
        return [
            Counted(service=service, region=region, window=window, requests=requests, failed=failed)
            for (service, region), (requests, failed) in sums.items()
        ]

    async def check(self) -> tuple[Finding, ...]:
        tallies = await self._tallies()
        known = {self._target(server) for counted in tallies.values() for server in counted} & self._targets
        what = f"{len(tallies)} of {len(self._apis)} instances tell of {len(known)} of {len(self._targets)} targets"
        whole = len(tallies) == len(self._apis) and known == self._targets
        remedy = "" if whole else "start the others; name backends and servers in `service_names` and `region_names`"
        return (Finding(ok=bool(known), what=what, remedy=remedy, warning=not whole),)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _tallies(self) -> dict[RuntimeApi, Mapping[Server, Tally]]:
        """Ask all at once. One that does not run carries nobody; of any other silence nothing is known at all."""
        async with asyncio.TaskGroup() as group:
            asked = {api: group.create_task(_asked(api)) for api in self._apis}
        answers = {api: task.result() for api, task in asked.items()}
        for answer in answers.values():
            if isinstance(answer, Unavailable | Rejected) and not isinstance(answer, NotRunning):
                self._before = {}
                raise answer
        running = {api: answer for api, answer in answers.items() if isinstance(answer, str)}
        if not running:
            self._before = {}
            raise Unavailable("; ".join(map(str, answers.values())))
        return {api: _read(answer, api.address) for api, answer in running.items()}

    def _target(self, server: Server) -> Target:
        names, regions = self._settings.service_names, self._settings.region_names
        return ServiceId(names.get(server[0], server[0])), RegionId(regions.get(server[1], server[1]))

    def _since(
        self, before: Mapping[Server, Tally], counted: Mapping[Server, Tally]
    ) -> Iterable[tuple[Target, int, int]]:
        """Yield what became of clients since the last look: the target, how many requests, how many failed."""
        for server, now in counted.items():
            then = before.get(server)
            if then is None or then == now or now.tries < then.tries or now.good < then.good or now.bad < then.bad:
                continue
            good = now.good - then.good
            failed = min(now.bad - then.bad, max(now.tries - then.tries - good, 0))
            target = self._target(server)
            if good + failed and target in self._targets:
                yield target, good + failed, failed


async def _asked(api: RuntimeApi) -> str | Unavailable | Rejected:
    try:
        return await api.count()
    except (Unavailable, Rejected) as error:
        return error


def _read(text: str, address: str) -> Mapping[Server, Tally]:
    """Return the tally of each server that speaks HTTP; what does not has no answers that could be good or bad."""
    rows = csv.reader(text.removeprefix("# ").splitlines())
    try:
        names = {name: position for position, name in enumerate(next(rows))}
        good, bad, moved = ([names[name] for name in group] for group in (_GOOD, _BAD, _MOVED))
        backend, server, tries, spoken = names["pxname"], names["svname"], names["stot"], names["hrsp_2xx"]
        return {
            (row[backend], row[server]): Tally(
                int(row[tries]) - sum(int(row[i]) for i in moved),
                sum(int(row[i]) for i in good),
                sum(int(row[i]) for i in bad),
            )
            for row in rows
            if row and row[spoken]
        }
    except (KeyError, ValueError, IndexError, StopIteration):
        raise Rejected(f"HAProxy at {address}: statistics that evac cannot read; is it older than 2.0?") from None


def _is_here(api: str) -> bool:
    """Whether an address is another machine's at each vantage point."""
    host = api.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return api.startswith("/") or host == "localhost"
