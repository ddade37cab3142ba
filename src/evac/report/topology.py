"""The topology of replication, drawn: a tree in lines for people, a graph for Graphviz.

Intuition: both show who follows whom by the members' own words. What is not known is a question mark in either.

What this is not: how any of it was found out (`core.replicating`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta

from evac.core.observation import Instant, MemberRole
from evac.core.plan import SyncSet
from evac.core.protection import say_set
from evac.core.replicating import Replica, Topology, tree
from evac.report.words import columns, size, span

UNKNOWN = "?"
_HEADINGS = ("member", "stream", "lag", "behind", "bandwidth", "last in sync", "waited for")


def tree_lines(topology: Topology, *, now: Instant) -> list[str]:
    """Return a component's members, each below the one it follows."""
    rows = [
        (_twig(branch.last) + branch.replica.region, *_row(branch.replica, topology, now=now))
        for branch in tree(topology.replicas)
    ]
    return [
        f"{topology.component}, {topology.driver}, {waits(topology)}",
        *(f"  {line}" for line in columns([_HEADINGS, *rows])),
    ]


def _twig(last: tuple[bool, ...]) -> str:
    if not last:
        return ""
    *above, mine = last
    return "".join("   " if ended else "│  " for ended in above) + ("└─ " if mine else "├─ ")


def waits(topology: Topology) -> str:
    """Return whom a component's primary waits for, by its own word."""
    mode = topology.mode.value
    if topology.acks is None:
        return f"{mode}; whom its primary waits for is not known"
    if mode == "async":
        return "async: its primary waits for nobody" + (
            f", and takes writes while {topology.acks} of its standbys are connected" if topology.acks else ""
        )
    if not topology.acks or not topology.sync:
        return "sync, but its primary waits for nobody"
    return f"sync: its primary waits for {say_set(SyncSet(acks=topology.acks, standbys=topology.sync))}"


def _row(replica: Replica, topology: Topology, *, now: Instant) -> tuple[str, ...]:
    if replica.role is not MemberRole.STANDBY:
        written = rate(replica) if replica.role is MemberRole.PRIMARY else ""
        return stream(replica, topology, now=now), "", "", written, "", ""
    synced = UNKNOWN if replica.in_sync_at is None else f"{span(max(now - replica.in_sync_at, timedelta()))} ago"
    behind = UNKNOWN if replica.lag_bytes is None else size(replica.lag_bytes)
    if replica.unapplied_bytes:
        behind += f", {size(replica.unapplied_bytes)} not applied"
    waited = UNKNOWN if replica.waited_for is None else "yes" if replica.waited_for else "no"
    return stream(replica, topology, now=now), lag(replica), behind, rate(replica), synced, waited


def stream(replica: Replica, topology: Topology, *, now: Instant) -> str:
    """Return what a member is, and how its stream is."""
    if replica.told is None:
        return f"unknown: {replica.reason}"
    ago = f"{span(max(now - replica.told, timedelta()))} ago"
    if replica.role is None:
        return f"no answer ({replica.reason})" if replica.fresh else f"unknown; {ago}: no answer ({replica.reason})"
    said = _said(replica, topology)
    return said if replica.fresh else f"unknown; {ago}: {said}"


def _said(replica: Replica, topology: Topology) -> str:
    if replica.role is not MemberRole.STANDBY:
        other = topology.primary is not None and topology.primary != replica.region
        more = f", though the record has {topology.primary}" if other and replica.role is MemberRole.PRIMARY else ""
        return f"{replica.role}{more}"
    silent = f", silent for {span(replica.silence)}" if replica.silence is not None else ""
    if replica.streaming:
        return "streaming" if replica.upstream is not None else "streaming from nobody known"
    if replica.refuses or replica.upstream is None:
        return f"follows nobody{', as it was told' if replica.refuses else ' known'}{silent}"
    return f"stream broken{silent}"


def lag(replica: Replica) -> str:
    """Return a lag, and where it is not that of what is held, how it was found."""
    if replica.lag is not None:
        return span(replica.lag)
    if replica.applied_lag is not None and replica.fresh:
        return f"{span(replica.applied_lag)} (applied)"
    return UNKNOWN if replica.lag_over is None else f"over {span(replica.lag_over)}"


def rate(replica: Replica) -> str:
    """Return bytes of log a second."""
    return UNKNOWN if replica.rate is None else f"{size(round(replica.rate.bytes_per_second))}/s"


def dot(estate: str, topologies: Iterable[Topology], *, now: Instant) -> str:
    """Return the graph as Graphviz reads it: a cluster a component, an edge a stream, dashed where it is not up."""
    inner = [f"  {line}" for topology in topologies for line in _cluster(topology, now=now)]
    head = [f"digraph {_quoted(estate)} {{", "  rankdir=LR;", "  node [shape=box];"]
    return "\n".join([*head, *inner, "}"])


def _cluster(topology: Topology, *, now: Instant) -> Iterator[str]:
    yield f"subgraph {_quoted(f'cluster_{topology.component}')} {{"
    yield f"  label={_quoted(f'{topology.component}, {topology.driver}, {waits(topology)}')};"
    regions = {r.region for r in topology.replicas}
    for each in topology.replicas:
        what = stream(each, topology, now=now)
        yield f"  {_node(topology, each.region)} [label={_quoted(f'{each.region}{chr(10)}{what}')}];"
    for each in topology.replicas:
        if each.upstream in regions:
            _, late, behind, bandwidth, *_ = _row(each, topology, now=now)
            style = "solid" if each.streaming and each.fresh else "dashed"
            label = _quoted(f"lag {late}, {behind}{chr(10)}{bandwidth}")
            ends = f"{_node(topology, str(each.upstream))} -> {_node(topology, each.region)}"
            yield f"  {ends} [label={label}, style={style}];"
    yield "}"


def _node(topology: Topology, region: str) -> str:
    return _quoted(f"{topology.component}/{region}")


def _quoted(text: str) -> str:
    """A string as DOT has it, in which JSON's escapes of quotes and line ends mean the same."""
    return json.dumps(text, ensure_ascii=False)
