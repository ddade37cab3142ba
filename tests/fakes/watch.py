"""An estate that is looked at for a while, and what is decided of it then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Decision, View
from evac.core.detector import Detector, fold
from evac.core.estate import Estate, RegionId
from evac.core.observation import MemberSeen
from evac.core.plan import Placement, SyncSet
from evac.core.protection import Protect
from evac.sim.estates import CARTS_CACHE, GROUP, ORDERS_DB, placed, shop
from fakes.estates import member, seconds, sweep

ESTATE = shop()


@dataclass
class Watch:
    """An estate in which all is well, but for what a test does to the members; looked at twice a second."""

    estate: Estate = ESTATE
    placement: Placement = field(default_factory=lambda: placed(ESTATE))
    detector: Detector = field(default_factory=lambda: Detector(policy=ESTATE.detection))
    now: float = 0.0
    silent: set[RegionId] = field(default_factory=set)
    dead: set[RegionId] = field(default_factory=set)
    """Regions whose database does not answer."""
    about: dict[RegionId, dict[str, object]] = field(default_factory=dict)
    """What is otherwise in the state of a region's database."""

    def upto(self, moment: float) -> Watch:
        while self.now < moment:
            self.now += 0.5
            seen = [m for m in self._members() if m.region not in self.silent]
            self.detector = fold(self.detector, *sweep(self.estate, self.now, silent=self.silent), *seen)
        return self

    def _members(self) -> list[MemberSeen]:
        caches = [member(CARTS_CACHE, r, primary=self.placement.primary, at=self.now) for r in self.estate.regions]
        return [*caches, *(self._member(region) for region in self.estate.regions)]

    def _member(self, region: RegionId) -> MemberSeen:
        seen = member(ORDERS_DB, region, primary=self.placement.primary, at=self.now)
        if region in self.dead:
            return replace(seen, state=None, reason="no answer")
        assert seen.state is not None
        changes = self.about.get(region, {})
        return replace(seen, state=replace(seen.state, **changes))  # type: ignore[arg-type]

    def view(self) -> View:
        return View(
            estate=self.estate,
            assessment=assess(self.detector, now=seconds(self.now), estate=self.estate),
            members=self.detector.members,
            placements={GROUP: self.placement},
            heard_since=self.detector.fresh_since,
            streams=self.detector.streams,
        )

    def decided(self, **known: object) -> Decision:
        view = replace(self.view(), **known)  # type: ignore[arg-type]
        (decision,) = decide(view, now=seconds(self.now))
        return decision

    def protects(self, **known: object) -> SyncSet | None:
        decision = self.decided(**known)
        return decision.sync if isinstance(decision, Protect) else None
