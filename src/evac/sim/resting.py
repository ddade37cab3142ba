"""Rest: the state that healing must lead to (L6).

Intuition: when nothing is broken any more, there is one primary that serves, all others stream from it and hold nothing
else, and it waits for whom it should. Whoever is not there says why.

What this is not: a look at routers (`invariants.Watch.misrouted`), or how long it may take (`deadlines`).
"""

from __future__ import annotations

from evac.core.estate import GroupId
from evac.core.observation import MemberRole
from evac.sim.databases import Database, Databases


def unrest(databases: Databases, group: GroupId, *, synchronous: bool, now: float) -> str:
    """Return why databases do not rest at a moment; empty if they do."""
    nodes = list(databases.nodes.values())
    primaries = [n for n in nodes if n.role is MemberRole.PRIMARY and n.process is not None]
    if len(primaries) != 1:
        return f"{len(primaries)} primaries of {group}"
    (primary,) = primaries
    if primary.stalls(now):
        return f"the writes of {primary.where} wait"
    for node in nodes:
        if node is primary:
            continue
        if not _attached(databases, node, primary, synchronous=synchronous):
            return f"{node.where} ({node.role}) does not stream from {primary.region}"
        if node.log != primary.log[: node.position]:
            return f"{node.where} holds what {primary.where} does not"
        if primary.sync is not None and node.region not in primary.sync.standbys:
            return f"{primary.where} does not wait for {node.region}"
    if synchronous and (primary.sync is None or not primary.sync.acks):
        return f"{primary.where} acknowledges alone"
    return ""


def _attached(databases: Databases, node: Database, primary: Database, *, synchronous: bool) -> bool:
    """Whether a standby streams from the primary; by way of other standbys too where nobody need acknowledge."""
    for _ in databases.nodes:
        if not node.streams_now() or node.upstream is None:
            return False
        if node.upstream == primary.region:
            return True
        if synchronous:
            return False
        node = databases.node(node.component, node.upstream)
    return False
