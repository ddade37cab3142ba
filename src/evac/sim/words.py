"""What an order to a modelled database says, as a driver reads it: whom to wait for, whose log is longest, the fork.

What this is not: the carrying out (`members`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evac.core.errors import Rejected
from evac.core.estate import RegionId
from evac.core.lease import Again
from evac.core.observation import Json, MemberRole
from evac.core.plan import Action, SyncSet
from evac.sim.databases import Database


def args(action: Action) -> Mapping[str, Any]:
    return action.args


def again(action: Action, was: MemberRole) -> MemberRole:
    """As what the undo of a stop starts a member. Raises `Rejected` where a primary may be a standby only."""
    match action.args.get("again"):
        case Again.AS_IT_WAS:
            return was
        case Again.STANDBY:
            if was is MemberRole.PRIMARY:
                raise Rejected("it was a primary: it is not started as a standby")
            return MemberRole.STANDBY
        case _:
            return MemberRole.PRIMARY


def rank_of(node: Database) -> tuple[int, int]:
    return node.timeline, node.position


def highest(args: Mapping[str, Any]) -> tuple[tuple[int, int], Mapping[str, Any]]:
    """The rank and the facts of the receipt whose member holds most."""
    facts = [f for f in args.get("receipts", {}).values() if f.get("position") is not None]
    unknown = [f for f in args.get("receipts", {}).values() if "clean" in f and f.get("position") is None]
    if unknown and not facts:
        raise Rejected("the old primary was stopped, but where its log ended is not known, and no standby refused it")
    best: Mapping[str, Any] = max(facts, key=lambda f: (f.get("timeline") or 0, f["position"]), default={})
    return ((best.get("timeline") or 0, best["position"]) if best else (0, 0)), best


def fork(args: Mapping[str, Any]) -> tuple[int, int]:
    """The new timeline and where it began, by the promotion's receipt; zeros where there is none."""
    for facts in args.get("receipts", {}).values():
        if "timeline" in facts and isinstance(facts.get("position"), int) and "region" not in facts:
            return facts["timeline"], facts["position"]
    return 0, 0


def sync(args: Mapping[str, Any]) -> SyncSet | None:
    if not args["acks"]:
        return None
    return SyncSet(acks=args["acks"], standbys=tuple(RegionId(r) for r in args["standbys"]))


def plain(sync: SyncSet | None) -> dict[str, Json]:
    return {"acks": sync.acks, "standbys": list(sync.standbys)} if sync else {"acks": 0, "standbys": []}
