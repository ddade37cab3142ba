"""Loading an estate: one call, and either everything is in order or everything that is not is told.

What this is not: opening anything. Loading reads files and environment variables, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evac.config.build import build, places
from evac.config.form import formed, masked
from evac.config.keeping import store_address, store_of_command_line
from evac.config.layers import ENVIRONMENTS, read_layers
from evac.config.members import Kinds, read_members
from evac.config.rules import check
from evac.config.source import KeyPath, Mark
from evac.core.errors import EstateError, OptionError
from evac.core.estate import Estate, RegionId
from evac.drivers import driver_kinds, observer_kinds, probe_kinds
from evac.places.ssh import SshSettings
from evac.ports import DriverKind, ObserverKind, ProbeKind
from evac.stores.opening import StoreAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A checked estate.

    `places` says where evac stands in each region (None is this host), `store` where it remembers, `signing_key` what
    receipts are signed with (None is a file in its state folder); `marks` where each path of the effective `document`
    was written; `document` is what the layers amount to, with secrets masked; `warnings` are for a person, each
    `file:line: path: text`.
    """

    estate: Estate
    places: Mapping[RegionId, SshSettings | None]
    store: StoreAddress | None
    signing_key: Path | None
    marks: Mapping[KeyPath, Mark]
    warnings: tuple[str, ...]
    document: Mapping[str, Any]


def load(
    path: Path | str,
    *,
    environment: str | None = None,
    store: str | None = None,
    environ: Mapping[str, str] | None = None,
    drivers: Mapping[str, DriverKind] | None = None,
    probes: Mapping[str, ProbeKind] | None = None,
    observers: Mapping[str, ObserverKind] | None = None,
) -> Loaded:
    """Return the estate that a file, the layers beside it and the environment variables `EVAC__…` declare.

    `environment` names one of the files under `environments/`; by default that of `EVAC_ENVIRONMENT`, else none.
    `store` is a URL that takes the place of the estate's own.
    Raises `EstateError` with every problem, in the order of layers and lines; `OptionError` where only an option is
    wrong.
    """
    environ = os.environ if environ is None else environ
    file = Path(path)
    folder = file.resolve().parent
    kinds = Kinds(
        drivers=driver_kinds() if drivers is None else drivers,
        probes=probe_kinds() if probes is None else probes,
        observers=observer_kinds() if observers is None else observers,
    )
    document = read_layers(file, environment=environment or environ.get("EVAC_ENVIRONMENT") or None, environ=environ)
    form = formed(document, folder=folder)
    members = read_members(form, document, kinds=kinds, folder=folder)
    warnings = check(form, members, document)
    if problems := document.problems:
        chosen = all(Path(p.mark.file) == file.parent / ENVIRONMENTS for p in problems)
        wrong = OptionError if chosen else EstateError
        raise wrong(tuple(dict.fromkeys(str(p) for p in sorted(problems, key=_order))), file=file)
    assert form.file is not None, "a document without problems has the estate's form"
    estate = build(form.file, members)
    address = (
        store_of_command_line(store, estate=form.file.name)
        if store
        else store_address(form.file.store, estate=form.file.name, folder=folder)
    )
    return Loaded(
        estate=estate if address else estate.without_leases(),
        places=places(form.file),
        store=address,
        signing_key=form.file.signing_key,
        marks=document.marks,
        warnings=tuple(dict.fromkeys(str(w) for w in sorted(warnings, key=_order))),
        document=masked(document.data),
    )


def _order(problem: Any) -> tuple[Mark, str, str]:
    return problem.mark, ".".join(map(str, problem.path)), problem.reason
