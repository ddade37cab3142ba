"""From what a file says of triggers to the core's values: which facts an expression names, and whom it looks after.

What this is not: the language of expressions (`conditions`), what ships (`shipped`), or what may not be (`urging`).
"""

from __future__ import annotations

from collections.abc import Iterator

from evac.config.conditions import Compiled, Declared, Refused, compiled
from evac.config.groups import groups
from evac.config.members import Members
from evac.config.schema import EstateFile, TriggerSection
from evac.config.shipped import whole
from evac.core.estate import ComponentId, GroupId, Purpose, RegionId
from evac.core.kinds import ServiceKind
from evac.core.trigger import Named, Scope, Trigger


def named_parts(file: EstateFile, members: Members) -> Declared:
    """Return all that facts can be of: services, kinds of them, and components that hold state."""
    return Declared(
        parts={
            Scope.SERVICE: tuple(file.services),
            Scope.KIND: tuple(ServiceKind),
            Scope.COMPONENT: tuple(c for s in file.services for c in _state(file, members, s)),
        }
    )


def _state(file: EstateFile, members: Members, service: str) -> Iterator[str]:
    for component in file.services[service].components:
        if members.purposes.get(ComponentId(component)) is Purpose.STATE:
            yield component


def read(section: TriggerSection, declared: Declared) -> Compiled | Refused:
    """Return a trigger's expression."""
    return compiled(section.when or "", declared)


def lacking(named: Named, services: tuple[str, ...], *, file: EstateFile, members: Members) -> bool:
    """Return whether a group of these services has nothing that a fact could be of."""
    match named.scope:
        case Scope.REGION:
            return False
        case Scope.SERVICE:
            return named.of not in services
        case Scope.KIND:
            return all(file.services[s].kind != named.of for s in services)
        case Scope.COMPONENT:
            return all(named.of not in _state(file, members, s) for s in services)


def looked_after(
    section: TriggerSection, reads: tuple[Named, ...], *, file: EstateFile, members: Members
) -> tuple[str, ...]:
    """Return the groups that a trigger looks after: declared, else all that have what it names."""
    return section.groups or tuple(
        group
        for group, services in groups(file.services).items()
        if not any(lacking(named, services, file=file, members=members) for named in reads)
    )


def triggers(file: EstateFile, members: Members) -> Iterator[Trigger]:
    """Yield the triggers that a checked file declares."""
    declared = named_parts(file, members)
    for name, said in file.triggers.items():
        section = whole(name, said)
        found = read(section, declared)
        assert isinstance(found, Compiled), f"trigger {name} is not in order, which the rules refuse"
        assert section.when, f"trigger {name} has no expression, which the rules refuse"
        assert section.action, f"trigger {name} has no action, which the rules refuse"
        assert section.lasting, f"trigger {name} has no duration, which the rules refuse"
        yield Trigger(
            name=name,
            when=" ".join(section.when.split()),
            condition=found.condition,
            reads=found.reads,
            lasting=section.lasting,
            severity=section.severity,
            action=section.action,
            automatic=section.automatic,
            groups=frozenset(GroupId(g) for g in looked_after(section, found.reads, file=file, members=members)),
            regions=frozenset(RegionId(r) for r in section.regions or file.regions),
            rto=section.rto,
            says=section.says,
        )
