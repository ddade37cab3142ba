"""One simulation: the distributed form whole, on models, through what its seed lets go wrong, under watch.

Intuition: a seed gives everything: how many regions, how they replicate, who writes when, how long each message takes,
what fails. So the same seed is the same simulation, to the last line of its trace.

What this is not: the rules under watch (`invariants`), or many seeds (`campaign`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from evac.core.estate import ComponentId, Estate, RegionId
from evac.core.lease import Leader
from evac.core.memory import Memory
from evac.core.news import DecisionNews, News, RunNews, VerdictNews
from evac.core.observation import MemberRole
from evac.core.plan import SyncSet
from evac.core.run import RunId
from evac.core.snapshot import Wish
from evac.engine.codec import decode
from evac.engine.journal import read_runs
from evac.engine.memories import folded, memory_key
from evac.ports import Change, Driver
from evac.sim import time
from evac.sim.agents import AgentProcess, Wiring
from evac.sim.breaking import Scene, break_
from evac.sim.cluster import Cluster
from evac.sim.databases import Database, Databases
from evac.sim.deadlines import Deadlines
from evac.sim.estates import GROUP, ORDERS_DB, ORDERS_LB, database_alone
from evac.sim.faults import BACKED_UP, HEAL, Fault, Kind
from evac.sim.invariants import Watch
from evac.sim.late import LateOrders
from evac.sim.leased import Leases
from evac.sim.members import Member
from evac.sim.network import Network
from evac.sim.obedience import Effect
from evac.sim.person import Person
from evac.sim.resting import unrest
from evac.sim.routers import Router, RouterMember
from evac.sim.setting import Result, Rules, Setup, regions_of
from evac.sim.states import state_of
from evac.sim.trace import Trace
from evac.sim.watchdogs import Watchdog
from evac.sim.writers import Acknowledged, Writer

REST_WITHIN = 150.0
"""So many seconds after healing everything must have come to rest (L6)."""
LOOK_EACH = 1.0
HELP_AFTER, HELP_EACH = 20.0, 10.0
"""So many seconds after healing a person looks whether evac has called one, and then each so many seconds."""
STILL = 3.0
"""For so many seconds a state must hold to be rest."""


def simulate(what: Setup, *, rules: Rules | None = None, stop_when_broken: bool = False) -> Result:
    """Simulate from the beginning to rest, or until the first promise is broken."""
    return time.run(_Simulation(what, rules or Rules()).play(stop_when_broken=stop_when_broken))


class _Simulation:
    """Everything that is in one simulation."""

    def __init__(self, what: Setup, rules: Rules) -> None:
        self.what = what
        self.rules = rules
        self.random = Random(f"world {what.seed}")
        regions = regions_of(what.regions)
        pairs = [frozenset((a, b)) for a in regions for b in regions if a < b]
        self.network = Network(
            regions=regions,
            one_way={pair: self.random.uniform(0.005, 0.06) for pair in sorted(pairs, key=sorted)},
            random=Random(f"network {what.seed}"),
        )
        self.estate: Estate = database_alone(
            regions,
            mode=what.mode,
            acks=what.acks,
            detection=rules.detection,
            held=what.holding(rules),
            routed=what.routed,
        )
        self.databases = Databases(network=self.network, random=Random(f"databases {what.seed}"))
        self.watch = Watch(estate=self.estate, databases=self.databases, clock=time.seconds)
        self.watch.leases = Leases(rules.holding, self.watch.broken) if what.held else None
        self.trace = Trace(clock=time.seconds)
        self.cluster = Cluster(self.network, random=Random(f"store {what.seed}"), committed=self._committed)
        self.agents: dict[RegionId, AgentProcess] = {}
        self.watchdogs: dict[RegionId, Watchdog] = {}
        self.routers: dict[RegionId, Router] = {}
        self.stuck_told: set[RunId] = set()
        self.late = LateOrders(self.trace)
        self.states: set[int] = set()
        self.met: Counter[str] = Counter()
        self.deadlines = Deadlines(what=what, rules=rules, watch=self.watch, databases=self.databases)
        self.person = Person(self.cluster, self.trace)
        self.watch.routers = self.routers
        self.scene = Scene(
            network=self.network,
            cluster=self.cluster,
            databases=self.databases,
            agents=self.agents,
            watchdogs=self.watchdogs,
            touched=self.watch.touched,
        )

    async def play(self, *, stop_when_broken: bool) -> Result:
        """Set everything up, let the script happen, heal, and wait for rest."""
        self._build()
        self.trace.tell("setup", str(self.what))
        writers = [
            Writer(
                region=region,
                component=ORDERS_DB,
                world=self.databases,
                random=Random(f"writer {self.what.seed} {region}"),
                told=self._told_yes,
            )
            for region in self.network.regions
        ]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(writer.write_for_ever()) for writer in writers]
            running += [tasks.create_task(self._suffer(fault)) for fault in self.what.script.faults]
            if await self._suffered(stop_when_broken=stop_when_broken):
                self.trace.tell("healed", "everything")
                await self._come_to_rest()
                await self._end()
            for task in running:
                task.cancel()
        self._stop()
        return self._result()

    async def _suffered(self, *, stop_when_broken: bool) -> bool:
        """Return True when the time of faults is over; False when a promise was broken first, and that is enough."""
        try:
            async with asyncio.timeout(HEAL):
                await (self.watch.first if stop_when_broken else asyncio.Event()).wait()
        except TimeoutError:
            return True
        return False

    def _build(self) -> None:
        regions = self.network.regions
        if any(f.kind is Kind.STORE_RESTORED for f in self.what.script.faults):
            asyncio.get_running_loop().call_later(BACKED_UP, self.cluster.back_up, context=time.outside())
        for region in regions:
            node = Database(ORDERS_DB, region, self.databases)
            node.role = MemberRole.PRIMARY if region == regions[0] else MemberRole.STANDBY
            node.upstream = None if region == regions[0] else regions[0]
            if region == regions[0] and self.what.acks:
                node.sync = SyncSet(acks=self.what.acks, standbys=tuple(regions[1:]))
            self.databases.nodes[ORDERS_DB, region] = node
        if self.what.routed:
            first = {str(region): 100 if region == regions[0] else 0 for region in regions}
            self.routers.update({r: Router(component=ORDERS_LB, region=r, weights=first) for r in regions})
        self.watchdogs.update(self._held())
        wiring = Wiring(
            estate=self.estate,
            databases=self.databases,
            members=self._ordered,
            line=self.cluster.line,
            candidate=self.rules.candidate,
            timing=self.rules.timing,
            keeper=self.rules.keeper,
            watchdogs=self.watchdogs,
            kept=partial(self._members, changed=self._kept),
        )
        for region, rate in zip(regions, self.what.script.rates, strict=True):
            self.agents[region] = AgentProcess(
                region,
                wiring=wiring,
                chance=Random(f"agent {self.what.seed} {region}"),
                rate=rate,
                told=self._told,
                elected=self._elected,
            )
        for node in self.databases.nodes.values():
            node.start()
        for agent in self.agents.values():
            agent.start()

    def _held(self) -> dict[RegionId, Watchdog]:
        """The watchdogs: one in each region, on the clock of its agent."""
        if not self.what.held:
            return {}
        return {
            region: Watchdog(
                self.databases.node(ORDERS_DB, region),
                timing=self.rules.holding,
                clock=time.VirtualClock(rate=rate),
                random=Random(f"watchdog {self.what.seed} {region}"),
                killed=lambda node: self.trace.tell("watchdog", f"{node.where} killed: its lease is too old"),
            )
            for region, rate in zip(self.network.regions, self.what.script.rates, strict=True)
        }

    def _members(
        self, region: RegionId, changed: Callable[[Database, Effect], None] | None = None
    ) -> Mapping[ComponentId, Member]:
        return {
            c: Member(
                node=node,
                world=self.databases,
                changed=partial(changed or self._changed, node),
                obedience=self.rules.obedience,
            )
            for c, node in self.databases.in_region(region).items()
        }

    def _ordered(self, region: RegionId) -> Mapping[ComponentId, Driver]:
        """The members of a region as its agent has them: each order is kept, so that it can come late."""
        members = self._members(region)
        for member in members.values():
            self.late.keep(member)
        if region not in self.routers:
            return members
        router = self.routers[region]
        routes = RouterMember(
            router=router,
            network=self.network,
            changed=partial(self._sent, router),
            obedience=self.rules.obedience,
        )
        return {**members, ORDERS_LB: routes}

    # what is heard

    def _committed(self, changes: tuple[Change, ...]) -> None:
        for run, event in self.watch.committed(changes):
            self.trace.entry(run, event)
            self._note_state()

    def _kept(self, node: Database, effect: Effect) -> None:
        """The keeper of its lease takes a primary down, or up again: no run's doing."""
        self.watch.kept(node, effect)
        self.trace.tell("keeper", f"{node.where} {'started' if effect.undo else 'stopped'}: its lease is kept, or lost")
        self._note_state()

    def _sent(self, router: Router, effect: Effect, weights: Mapping[str, int]) -> None:
        """A router sends clients elsewhere."""
        self.watch.sent(router, effect, weights)
        self._changed(router, effect)

    def _changed(self, node: Database | Router, effect: Effect) -> None:
        self.watch.changed(node, effect)
        self.trace.tell(
            "effect",
            f"{node.where}: {'undo of ' if effect.undo else ''}{effect.action.verb}, term {effect.action.term}"
            f"{', as before' if effect.anew else ''}",
        )
        self._note_state()

    def _told_yes(self, yes: Acknowledged) -> None:
        self.watch.told(yes)
        self.trace.acknowledged(yes)

    def _told(self, name: str, news: News) -> None:
        match news:
            case VerdictNews(verdict=verdict):
                self.trace.tell("verdict", f"{name}: {verdict.region} {verdict.diagnosis}")
                if verdict.diagnosis == "unreachable":
                    self.deadlines.declared(verdict.region)
            case DecisionNews(decision=decision):
                self.trace.tell("decision", f"{name}: {type(decision).__name__}: {'; '.join(decision.reasons)}")
                self.person.hear(decision)
            case RunNews(run=run, event=event):
                if getattr(event, "outcome", None) == "stuck":
                    self.stuck_told.add(run)

    def _elected(self, agent: AgentProcess, mine: Leader | None) -> None:
        now = time.seconds()
        if mine is None:
            self.trace.tell("leader", f"{agent.name} leads no more")
            return
        self.trace.tell("leader", f"{agent.name} leads, reign {mine.reign}")
        for other in self.agents.values():
            process = other.process
            if other is agent or not other.leads or process is None or process.frozen:
                continue
            if process.thawed_at is None or now - process.thawed_at > 0.001:
                self.watch.broken("S5", f"{agent.name} leads while {other.name} has not laid the lead down")
        self._note_state()
        self.deadlines.elected(agent)

    def _note_state(self) -> None:
        active = self.watch.active
        run = active[0] if active else None
        state = state_of(self.databases.nodes.values(), self.agents.values(), run, self.deadlines.on)
        self.states.add(state)

    # what goes wrong

    async def _suffer(self, fault: Fault) -> None:
        await time.sleep(fault.begins)
        self.trace.tell("fault", str(fault))
        self.met[fault.kind] += 1
        match fault.kind:
            case Kind.SWITCHOVER:
                return self.person.wish(Wish.SWITCHOVER, target=fault.other)
            case Kind.LATE_ORDERS:
                return await self.late.deliver()
            case Kind.STORE_RESTORED:
                self.watch.restored()
            case _:
                pass
        self.deadlines.began(fault)
        led = next((a.region for a in self.agents.values() if a.leads), None)
        at_rest = not self._unrest()
        mend = break_(fault, self.scene)
        self.deadlines.after(fault, led=led, at_rest=at_rest)
        self._note_state()
        try:
            await time.sleep(fault.ends - fault.begins)
        finally:
            mend()
            self.deadlines.ended(fault)
            self.trace.tell("mended", str(fault))

    async def _come_to_rest(self) -> None:
        """Wait until all is as it should be, and has been for a while; a person helps where one was called (L6)."""
        loop = asyncio.get_running_loop()
        still = 0.0
        why = ""
        while loop.time() < HEAL + REST_WITHIN:
            await time.sleep(LOOK_EACH)
            why = self._unrest()
            still = 0.0 if why else still + LOOK_EACH
            if still >= STILL:
                self.trace.tell("rest", "one primary, the others stream from it, nothing is under way")
                return
            if loop.time() > HEAL + HELP_AFTER and loop.time() % HELP_EACH < LOOK_EACH:
                self._help()
        self.watch.broken("L6", f"{REST_WITHIN:g} s after everything had healed: {why}")

    def _unrest(self) -> str:
        leaders = [a.name for a in self.agents.values() if a.leads]
        if len(leaders) != 1:
            return f"{len(leaders)} agents lead"
        if active := self.watch.active:
            return f"run {active[0].id} ({active[0].plan.kind}) is under way"
        now = asyncio.get_running_loop().time()
        databases = unrest(self.databases, GROUP, synchronous=self.watch.synchronous, now=now)
        return databases or self.watch.misrouted(self.routers.values())

    def _help(self) -> None:
        """Do what evac told a person to do."""
        stuck = [a.controller.known.stuck for a in self.agents.values() if a.leads and a.controller is not None]
        self.person.help(stuck=[run for known in stuck for run in known.values()])

    def _stop(self) -> None:
        for agent in self.agents.values():
            agent.kill()
        for watchdog in self.watchdogs.values():
            watchdog.kill()
        for node in self.databases.nodes.values():
            node.marked = False  # what it was at the end is looked at
            node.kill()

    async def _end(self) -> None:
        """Stop everything, and look at what is left."""
        self._stop()
        await time.sleep(10.0)
        journals = {run.id: run for run in await read_runs(self.cluster.store)}
        self.watch.at_the_end(journals, stuck_told=self.stuck_told)
        for group, memory in folded(journals.values(), guard=self.estate.guard).items():
            kept = await self.cluster.store.get(memory_key(group))
            if kept is None or decode(kept.value, Memory) != memory:
                self.watch.broken("S12", f"what is remembered of {group} is not what its journals say")
        for failure in time.failures():
            self.watch.broken("defect", f"a process died of {failure!r}")

    def _result(self) -> Result:
        for violation in self.watch.found:
            self.trace.tell("BROKEN", f"{violation.rule}: {violation.what}")
        return Result(
            setup=self.what,
            violations=tuple(self.watch.found),
            simulated_s=time.seconds(),
            faults=self.met,
            states=frozenset(self.states),
            acknowledged=Counter(yes.node for yes in self.watch.acknowledged),
            runs=Counter(
                f"{run.plan.kind} {run.settled.outcome if run.settled else 'unsettled'}"
                for run in self.watch.runs.values()
            ),
            primary=self.watch.primary,
            orphans=sum(len(saved.names) for saved in self.databases.saved),
            called=self.person.was_called,
            terms=tuple(self.watch.terms),
            late=self.late.came,
            trace=tuple(self.trace.lines),
        )
