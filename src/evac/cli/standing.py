"""What a status says of the store, and of a region that does not reach it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from evac.cli.terminal import busy, note
from evac.core.errors import StoreUnavailable
from evac.core.estate import ComponentId
from evac.core.snapshot import Snapshot
from evac.engine.codec import to_plain
from evac.engine.last_known import EVERY, Guarded
from evac.opened import SNAPSHOT_FRESH
from evac.opening import CutOff
from evac.ports import StoreHealth
from evac.report.words import count, listed, size, span


@contextmanager
def asking_the_store(state: Path) -> Iterator[None]:
    """Show, where that is a terminal, what a command waits for: in a region that is cut off it takes its time.

    Where the store cannot be had, and what is kept in the folder `state` may not be read, that is said, too.
    """
    with busy("asks the store; where it stays silent, what this host's agent kept is shown"):
        try:
            yield
        except StoreUnavailable as trouble:
            if refused := _refused(state):
                raise StoreUnavailable(f"{trouble}; {refused}") from None
            raise


def _refused(state: Path) -> str:
    """Return what of a state folder whoever asks may not read, and as whom to ask; empty where all may be read.

    Under systemd the folder is the unit's user's alone, and to everybody else what an agent kept seems not to be there.
    """
    try:
        for file in state.iterdir():
            if file.match("agent-*.json"):
                file.open("rb").close()
    except PermissionError as error:
        again = f"type the same behind sudo -u {_owner(state)}, with --estate, --state and --store written out"
        return f"what evac keeps on this host may not be read ({error.filename}: {error.strerror}): {again}"
    except OSError:
        return ""  # nothing is kept there
    return ""


def _owner(state: Path) -> str:
    """Return whose a folder is, by name if there is one."""
    try:
        return state.owner()
    except (OSError, KeyError):
        return "USER, whom evac runs as,"


def note_cut(cut: CutOff | None) -> None:
    """Say where what is shown comes from, if not from the store."""
    if cut is not None:
        note(f"{cut.why}; this is what {cut.here.region}'s agent kept of it")


def plain_cut(cut: CutOff | None) -> dict[str, object] | None:
    """Return how this host's agent stands and why the store is not reached, for machines; None where it is."""
    return None if cut is None else {**to_plain(cut.here), "why": cut.why}


def unwatched(snapshot: Snapshot, *, led: bool, age: timedelta) -> str:
    """Return how old what is known is, and what to start, where nobody watches; empty where somebody does."""
    if led and age <= SNAPSHOT_FRESH:
        return ""
    what = "evac agent in most regions, and look at the store" if snapshot.leader else "evac serve"
    return f"nobody watches; what follows is {span(age)} old. Needed from you: start {what}"


def store_line(store: StoreHealth, *, commit: timedelta | None) -> str:
    """Return how the store is: its members, how quick it is, how full."""
    up = [m for m in store.members if m.up]
    said = [f"store on {store.kind}: {len(up)} of {len(store.members)} members answer"]
    if len(store.members) == 1:
        said = [f"store on {store.kind}, {store.members[0].name}{'' if up else ', does not answer'}"]
    else:
        leads = [m.name for m in up if m.leads]
        said += [f"{leads[0]} leads" if leads else "none of them leads"]
        down = [m.name for m in store.members if not m.up]
        said += [f"silent: {listed(down)}"] if down else []
    said += [f"a read takes {span(store.read)} from here" if store.read is not None else "no read is answered"]
    said += [f"a commit {span(commit)} from the leader"] if commit is not None else []
    if store.size is not None:
        said += [f"{size(store.size)}" + (f" of at most {size(store.limit)}" if store.limit is not None else "")]
    return ", ".join([*said, *([f"it says: {store.trouble}"] if store.trouble else [])])


def cut_off(cut: CutOff, snapshot: Snapshot, hosted: Sequence[ComponentId], *, wall: datetime) -> Iterator[str]:
    """Yield what is known where the store cannot be reached: how old it is, and what becomes of the primaries here.

    `hosted` are the components that hold state and, as far as is known, have their primaries here.
    """
    here = cut.here
    told = max(wall - here.wall, timedelta())
    if here.reaches_the_store(wall):
        needed = "see that this command is given the same --store, and may read the files that it names"
        reaches = f"{here.region}'s agent reaches the store, this command does not"
        yield f"{snapshot.estate}: {reaches}. Needed from you: {needed}"
        yield f"  {cut.why}"
        yield from (f"  {_held(each, told=told)}" for each in here.guarded)
        yield f"  what follows is {span(max(wall - snapshot.wall, timedelta()))} old"
        return
    silent = here.silent_for(wall)
    since = f"for {span(silent)}" if silent is not None else "since its agent started"
    needed = f"look from another region, and mend the way from {here.region} to the store"
    yield f"{snapshot.estate}: the store cannot be reached from {here.region}, {since}. Needed from you: {needed}"
    yield f"  {cut.why}"
    if told > 3 * EVERY:
        yield f"  {here.region}'s agent on this host has not told anything for {span(told)}: see that it runs"
    yield f"  {here.region}'s agent decides nothing and is ordered nothing meanwhile; the others go on if they can"
    yield from (f"  {_guarded(each, told=told)}" for each in here.guarded)
    held = {each.component for each in here.guarded}
    waits = {component for placement in snapshot.placements for component, sets in placement.sync.items() if sets}
    for component in hosted:
        if component in held:
            continue
        if component in waits:
            yield f"  {component}: acknowledges nothing once enough of its standbys have left or refuse it"
        else:
            yield f"  {component}: no lease is held, and it waits for no standby: nothing here stops it, unless you do"
    yield f"  what follows is {span(max(wall - snapshot.wall, timedelta()))} old"


def _held(held: Guarded, *, told: timedelta) -> str:
    """Since when a primary here is held: `told` ago its agent said so."""
    return f"{held.component}: held under a lease that was renewed {span(held.age + told)} ago"


def _guarded(held: Guarded, *, told: timedelta) -> str:
    """How a primary here is fenced: `told` ago its agent said so."""
    age, renewed = held.age + told, _held(held, told=told)
    by = "its watchdog" if held.armed else "its agent"
    if age >= held.kills_at:
        return f"{renewed}: fenced, {by} kills it at {span(held.kills_at)}"
    return f"{renewed}: being fenced, {by} kills it in {span(held.kills_at - age)}"


def parts_lines(snapshot: Snapshot, *, wall: datetime) -> list[str]:
    """Return how much is known of single groups, where that is told in parts."""
    said: list[str] = []
    if snapshot.missing:
        said.append(f"  {snapshot.missing} of {count(snapshot.parts, 'part')} of the view are not written yet: wait")
    if snapshot.oldest is not None:
        age = span(max(wall - snapshot.oldest, timedelta()))
        said.append(f"  groups are told of in {count(snapshot.parts, 'part')}, the oldest written {age} ago")
    return said
