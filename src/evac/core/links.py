"""Links: what the ways between regions are like, for every ordered pair, by the answers that probes got lately.

Intuition: a probe over a connection that is kept open sends one question and gets one answer, so its time is one round
trip and what the service itself takes. Nothing makes an answer quicker than the way, so the quickest of all services'
answers is nearest to the network's own time. TCP hides a lost packet: it is sent again, and the answer is late by
`LATE_BY` at least, long before it is missing. So late and missing answers together tell how many packets are lost, and
one service that is slow or down by itself is told from the way by the others: the middle one of them counts, of two
the better.

What this is not: a verdict (`assessment`, `gray`), or a count of packets. A pair that nobody has looked at has no
figures; none of them is 0.

Method: Linux sends again after the round trip and at least 200 ms (TCP_RTO_MIN; RFC 6298 has 1 s, RFC 8985 section 7.2
has the probe for a lost tail, which waits for a delayed acknowledgement of up to 200 ms). An answer is on time when
both packets are: where a part p is lost each way, a part 1 - (1 - p)^2 of the answers is late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median, median_low

from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.observation import Heartbeat, Instant, Observation, Probed

LATE_BY = timedelta(milliseconds=200)
"""An answer that takes so much longer than the quickest has had a packet sent again, or its service stood still."""
LOSS_MIN = 0.01
"""Less is one late answer in many."""
LOSS_BEYOND_OWN = 2
"""And less than so many times what is late in the vantage point's own region says only that something there is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What became of the questions that one vantage point asked one service over a kept connection.

    `unanswered` were met by silence, `failed` by an answer that was no good: the way is whole then. `late` came in time
    and by `LATE_BY` later than the quickest. `smallest` and `median` are of good answers; None: there was none.
    """

    service: ServiceId
    questions: int
    unanswered: int
    failed: int
    late: int
    smallest: timedelta | None
    median: timedelta | None
    last: Instant

    @property
    def mute(self) -> bool:
        """Return whether nothing came back at all."""
        return self.unanswered == self.questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The way from a vantage point to a region. `expected` is the declared round trip; `unknown` says why there are no
    figures, and is empty where there are. `own` and `own_loss` are what this vantage point finds in its own region,
    where the way is nothing: services' own time, the way by which it is reached itself, and how busy all of them are.
    """

    vantage: RegionId
    region: RegionId
    services: tuple[Answers, ...]
    expected: timedelta | None
    unknown: str = ""
    own: timedelta | None = None
    own_loss: float | None = None

    @property
    def beyond_own(self) -> timedelta | None:
        """Return how much longer the quickest answer takes than within the vantage point's own region."""
        if self.smallest is None or self.own is None or self.vantage == self.region:
            return None
        return max(self.smallest - self.own, timedelta())

    @property
    def loses(self) -> bool:
        """Return whether loss is worth a word: some, and more than where there is no way to lose anything on."""
        if self.vantage == self.region or self.loss is None:
            return False
        return self.loss >= max(LOSS_MIN, LOSS_BEYOND_OWN * (self.own_loss or 0.0))

    @property
    def smallest(self) -> timedelta | None:
        """Return the quickest answer of all services."""
        return min((a.smallest for a in self.services if a.smallest is not None), default=None)

    @property
    def median(self) -> timedelta | None:
        """Return the median of the service that answers soonest by it."""
        return min((a.median for a in self.services if a.median is not None), default=None)

    @property
    def questions(self) -> int:
        """Return how many questions were asked."""
        return sum(a.questions for a in self.services)

    @property
    def unanswered(self) -> int:
        """Return how many of them met silence."""
        return sum(a.unanswered for a in self.services)

    @property
    def failed(self) -> int:
        """Return how many of them got an answer that was no good."""
        return sum(a.failed for a in self.services)

    @property
    def late(self) -> int:
        """Return how many good answers were late."""
        return sum(a.late for a in self.services)

    @property
    def last(self) -> Instant | None:
        """Return when the pair was last looked at."""
        return max((a.last for a in self.services), default=None)

    @property
    def mute(self) -> tuple[ServiceId, ...]:
        """Return the services from which nothing came back."""
        return tuple(a.service for a in self.services if a.mute)

    @property
    def loss(self) -> float | None:
        """Return which part of the packets is lost each way, 0 to 1, as far as late and missing answers tell; None
        where nothing was asked. A service from which nothing comes back says nothing of a way by which others answer.
        """
        speaking = [a for a in self.services if not a.mute] or self.services
        if not speaking:
            return None
        return 1 - math.sqrt(1 - median_low((a.unanswered + a.late) / a.questions for a in speaking))


def links(estate: Estate, seen: Iterable[Observation], *, since: Instant) -> tuple[Link, ...]:
    """Return the way of every ordered pair of regions by what was seen since a moment, in the estate's order.

    What observers tell counts for nothing here: they have looked themselves, and nobody knows how long that took.
    """
    looks: dict[tuple[RegionId, RegionId], dict[ServiceId, list[Probed]]] = {}
    heard: set[RegionId] = set()
    for each in seen:
        if isinstance(each, Heartbeat):
            heard.add(each.region)
        elif isinstance(each, Probed) and each.took and not each.as_client and each.at >= since:
            along = looks.setdefault((each.vantage, each.region), {}).setdefault(each.service, [])
            if not along or each.at > along[-1].at:  # a view that was told twice is not two looks
                along.append(each)
    asked = frozenset(p.region for p in estate.probes if not p.as_client)
    found = [
        _link(estate, vantage, region, looks.get((vantage, region), {}), unknown=_why(vantage, region, heard, asked))
        for vantage in estate.regions
        for region in estate.regions
    ]
    own = {link.vantage: link for link in found if link.vantage == link.region}
    return tuple(replace(link, own=own[link.vantage].smallest, own_loss=own[link.vantage].loss) for link in found)


def _why(vantage: RegionId, region: RegionId, heard: Iterable[RegionId], asked: Iterable[RegionId]) -> str:
    """Why a pair that was not looked at was not."""
    if vantage not in heard:
        return f"{vantage}'s agent was not heard"
    return "its agent told of no look there" if region in asked else "no probe there keeps a connection open"


def _link(
    estate: Estate, vantage: RegionId, region: RegionId, looks: Mapping[ServiceId, list[Probed]], *, unknown: str
) -> Link:
    expected = estate.round_trips.get((vantage, region), estate.round_trips.get((region, vantage)))
    return Link(
        vantage=vantage,
        region=region,
        services=tuple(_answers(s, looks[s]) for s in estate.services if s in looks),
        expected=expected,
        unknown="" if looks else unknown,
    )


def _answers(service: ServiceId, looks: list[Probed]) -> Answers:
    good = [each.took for each in looks if each.ok]
    quickest = min(good, default=None)
    return Answers(
        service=service,
        questions=len(looks),
        unanswered=sum(not each.ok and not each.answered for each in looks),
        failed=sum(not each.ok and each.answered for each in looks),
        late=sum(took - quickest >= LATE_BY for took in good) if quickest is not None else 0,
        smallest=quickest,
        median=timedelta(seconds=median(took.total_seconds() for took in good)) if good else None,
        last=looks[-1].at,
    )
