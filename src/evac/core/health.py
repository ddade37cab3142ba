"""How well a service is served in a region: a score, response time, error rate, throughput.

Intuition: a verdict says whether to act; this says how it goes meanwhile. All of it is what the vantage points outside
met lately, clients' probes and kept connections alike, since that is what a client elsewhere would meet; and what
routers count of real clients.

What this is not: a verdict (`assessment`), or a reason to move: a slow service is shown, and is nothing more so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from evac.core.detector import Cell, Detector
from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.observation import Instant
from evac.core.verdict import Assessment

RESPONSE_MAX = timedelta(seconds=1)
"""A service that takes longer to answer is worth less, in proportion. Requirement B3."""
THROUGHPUT = "requests_per_second"
"""What a router says of its clients in its state's `detail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """One service in one region, as it was served within the detection's gray window. None: nobody could say.

    `score` is 0 to 1: the part of the questions that were answered well, less where the answers are slow. `response` is
    the median of the newest answers whose time was measured. `error_rate` is 0 to 1, over so many `answers`.
    `throughput` is requests a second that the region's routers carry for it.
    """

    region: RegionId
    service: ServiceId
    score: float | None
    response: timedelta | None
    error_rate: float | None
    throughput: float | None
    answers: int


def health(
    detector: Detector, assessment: Assessment, *, estate: Estate, services: Sequence[ServiceId] | None = None
) -> tuple[ServiceHealth, ...]:
    """Return each service's health in each of its regions at the assessment's moment, in the estate's order; or that of
    some services only, which costs no more than they are.
    """
    lines = _outside(detector, assessment)
    return tuple(
        _health(region, service, _cells(lines.get(region, ()), service), detector, estate, assessment.at)
        for region in estate.regions
        for service in (estate.services if services is None else services)
        if region in estate.services[service].regions
    )


def score(region: RegionId, found: Iterable[ServiceHealth]) -> float | None:
    """Return a region's score: that of its services, on average; None where nothing is known of any."""
    known = [h.score for h in found if h.region == region and h.score is not None]
    return sum(known) / len(known) if known else None


def _outside(detector: Detector, assessment: Assessment) -> Mapping[RegionId, list[Mapping[ServiceId, Cell]]]:
    """What the voters outside see of each region, a map for each and each way to look; clients' probes are among it."""
    lines: dict[RegionId, list[Mapping[ServiceId, Cell]]] = {}
    for (vantage, region, _), known in detector.cells.lines().items():
        if vantage != region and vantage not in assessment.voiceless:
            lines.setdefault(region, []).append(known)
    return lines


def _cells(lines: Iterable[Mapping[ServiceId, Cell]], service: ServiceId) -> Sequence[Cell]:
    return [cell for known in lines if (cell := known.get(service)) is not None]


def _health(
    region: RegionId, service: ServiceId, cells: Sequence[Cell], detector: Detector, estate: Estate, now: Instant
) -> ServiceHealth:
    oldest = now - detector.policy.gray_window
    answers = sum(at > oldest for cell in cells for at in cell.recent)
    failed = sum(at > oldest for cell in cells for at in cell.bad)
    took = [cell.took.total_seconds() for cell in cells if cell.last > oldest and not cell.failures and cell.took]
    passing = (answers - failed) / answers if answers else None
    response = timedelta(seconds=median(took)) if took else None
    slow = RESPONSE_MAX / max(RESPONSE_MAX, response) if response is not None else 1.0
    return ServiceHealth(
        region=region,
        service=service,
        score=None if passing is None else passing * slow,
        response=response,
        error_rate=None if passing is None else 1.0 - passing,
        throughput=_throughput(detector, estate, service, region),
        answers=answers,
    )


def _throughput(detector: Detector, estate: Estate, service: ServiceId, region: RegionId) -> float | None:
    """What the service's routers in the region say they carry, all together; None where none says it."""
    said: list[float] = []
    for component in estate.service_components(service):
        seen = detector.members.get((component.id, region))
        rate = seen.state.detail.get(THROUGHPUT) if seen is not None and seen.state is not None else None
        if isinstance(rate, int | float):
            said.append(float(rate))
    return sum(said) if said else None
