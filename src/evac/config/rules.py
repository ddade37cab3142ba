"""What an estate may not say although its form is right: names that lead nowhere, promises that contradict.

Intuition: a rule looks at a scene (the file, its members, all names that are declared) and yields what it finds, each
with the path to mend. Rules are many and small, and know nothing of one another; the list at the end is all of them.
They live by what they are about: `names`, `promises`, `layout`, `leases`, `devices`, `observing`, `keeping`,
`exposure`, `urging`.

What this is not: the form (`schema`), or whether the systems really are like that (`evac check`).
"""

from __future__ import annotations

from evac.config.devices import DEVICES
from evac.config.exposure import EXPOSURE
from evac.config.form import Formed, mark_of
from evac.config.keeping import KEEPING
from evac.config.layout import LAYOUT
from evac.config.leases import LEASES
from evac.config.members import Members
from evac.config.names import NAMES
from evac.config.observing import OBSERVING
from evac.config.promises import PROMISES
from evac.config.scene import Found, Scene
from evac.config.source import Document, Problem
from evac.config.urging import URGING

RULES = (*NAMES, *PROMISES, *LAYOUT, *LEASES, *DEVICES, *OBSERVING, *KEEPING, *EXPOSURE, *URGING)


def check(formed: Formed, members: Members, document: Document) -> list[Problem]:
    """Return warnings; adds what may not be to the document's problems."""
    if formed.file is None:
        return []
    scene = Scene.of(formed.file, members=members, document=document)
    found: list[Found] = [f for rule in RULES for f in rule(scene)]
    warnings = []
    for finding in found:
        problem = Problem(mark=mark_of(document, finding.path), path=finding.path, reason=finding.reason)
        if finding.warning:
            warnings.append(problem)
        elif not formed.touches_cut(finding.path):
            document.problems.append(problem)
    return warnings
