"""The scene that regions are judged on: all that is known at one moment, by who looks at what, and who has no vote.

Intuition: the detector holds a cell for each view of each service; a judgement is about regions. So the cells are laid
out once, by vantage point and region: what is looked at, what fails of it, whose doors clients come in by, whom load
balancers turn away, and which observers cannot be believed.

What this is not: a judgement (`assessment`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from evac.core.detector import Cell, Detector
from evac.core.estate import Estate, RegionId, ServiceId
from evac.core.gray import carried_fail, carried_since
from evac.core.observation import Carried, Instant
from evac.core.sights import Sight

Pair = tuple[RegionId, RegionId]
"""A vantage point and the region it looks at."""
Views = Mapping[ServiceId, Cell]
"""What one vantage point knows of one region, service by service; client probes are not among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the regions of one moment are judged on."""

    detector: Detector
    estate: Estate
    now: Instant
    views: Mapping[Pair, Views]
    failing: Mapping[Pair, Mapping[Sight, Cell]]
    doors: Mapping[RegionId, Mapping[ServiceId, list[Cell]]]
    turned_away: Mapping[RegionId, Mapping[ServiceId, Mapping[RegionId, Sequence[Carried]]]]
    voiceless: Mapping[RegionId, str]


def lay_out(detector: Detector, *, now: Instant, estate: Estate) -> Scene:
    """Return what the detector holds at `now`, as it is judged."""
    views = _views(detector, estate, now)
    looks = {v: {r: views[v, r] for r in estate.regions if r != v} for v in estate.regions}
    voiceless = {v: why for v in estate.regions if (why := _voiceless(detector, v, looks[v], now))}
    return Scene(
        detector=detector,
        estate=estate,
        now=now,
        views=views,
        failing=_failing(detector, now),
        doors=_doors(detector, voiceless, now),
        turned_away=_turned_away(detector, voiceless, now),
        voiceless=voiceless,
    )


def heartbeat_age(detector: Detector, region: RegionId, now: Instant) -> timedelta | None:
    """Return how old a region's last heartbeat is, None if it never had one."""
    last = detector.heartbeats.get(region)
    return None if last is None else now - last


def is_fresh(detector: Detector, region: RegionId, now: Instant) -> bool:
    """Return whether a region's agent has been heard of lately."""
    age = heartbeat_age(detector, region, now)
    return age is not None and age <= detector.policy.heartbeat_stale


def stale_after(detector: Detector) -> timedelta:
    """Return how old a view may be: one that is older is no view, since three asks could have ended since."""
    return 3 * detector.policy.interval + detector.policy.timeout + detector.policy.client_timeout


def _views(detector: Detector, estate: Estate, now: Instant) -> Mapping[Pair, Views]:
    """The known, fresh cells, by vantage point and region."""
    oldest = now - stale_after(detector)
    views: dict[Pair, dict[ServiceId, Cell]] = {(v, r): {} for v in estate.regions for r in estate.regions}
    for (vantage, region, as_client), known in detector.cells.lines().items():
        if not as_client and (vantage, region) in views:
            views[vantage, region] = {s: c for s, c in known.items() if c.up is not None and c.last >= oldest}
    return views


def _failing(detector: Detector, now: Instant) -> Mapping[Pair, Mapping[Sight, Cell]]:
    """All fresh cells, client probes too, of the pairs where anything failed within the window."""
    oldest = now - stale_after(detector)
    lines = detector.cells.lines()
    pairs = {(at.vantage, at.region) for at, known in lines.items() if any(c.bad for c in known.values())}
    if not pairs:
        return {}
    failing: dict[Pair, dict[Sight, Cell]] = {pair: {} for pair in pairs}
    for line, known in lines.items():
        if (line.vantage, line.region) in pairs:
            fresh = {line.at(s): c for s, c in known.items() if c.last >= oldest}
            failing[line.vantage, line.region] |= fresh
    return failing


def _doors(
    detector: Detector, voiceless: Mapping[RegionId, str], now: Instant
) -> Mapping[RegionId, Mapping[ServiceId, list[Cell]]]:
    """The fresh client probes of those outside that have a vote, by the region and the service whose door they try."""
    oldest = now - stale_after(detector)
    doors: dict[RegionId, dict[ServiceId, list[Cell]]] = {}
    for (vantage, region, as_client), known in detector.cells.lines().items():
        if as_client and vantage != region and vantage not in voiceless:
            for service, cell in known.items():
                if cell.last >= oldest:
                    doors.setdefault(region, {}).setdefault(service, []).append(cell)
    return doors


def _turned_away(
    detector: Detector, voiceless: Mapping[RegionId, str], now: Instant
) -> Mapping[RegionId, Mapping[ServiceId, Mapping[RegionId, Sequence[Carried]]]]:
    """What fails of real clients too often, by the region and the service they were sent to, and the voter they were
    sent by; not what failed while the region was silent.
    """
    found: dict[RegionId, dict[ServiceId, dict[RegionId, Sequence[Carried]]]] = {}
    for (vantage, service, region), all_counts in detector.carried.items():
        counts = carried_since(all_counts, detector.fresh_since.get(region))
        if vantage != region and vantage not in voiceless and carried_fail(counts, detector.policy, now):
            found.setdefault(region, {}).setdefault(service, {})[vantage] = counts
    return found


def all_down(views: Views) -> bool:
    """Return whether a vantage point sees a region's services, and none of them up."""
    return bool(views) and not any(cell.up for cell in views.values())


def _voiceless(detector: Detector, vantage: RegionId, looks: Mapping[RegionId, Views], now: Instant) -> str:
    """Why an observer has no vote; empty if it has one."""
    if not is_fresh(detector, vantage, now):
        age = heartbeat_age(detector, vantage, now)
        return "never heard of" if age is None else f"silent for {age.total_seconds():.1f} s"
    silent = [r for r, views in looks.items() if all_down(views) and not _answered(views, detector)]
    if 2 * len(silent) > len(looks) + 1:
        return f"hears nothing from {len(silent)} of {len(looks)} other regions: the fault is its own"
    return ""


def _answered(views: Views, detector: Detector) -> bool:
    """Return whether anything in a region that is seen down answers, though badly, often enough to count: the way there
    is whole. One that was cut off itself is believed again when that much was heard since.
    """
    return any(cell.answered >= detector.policy.failures for cell in views.values())
