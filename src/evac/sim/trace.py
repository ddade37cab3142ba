"""What happened in a simulation, line by line, for a person to read: the moment, what kind of thing it was, and what.

What this is not: kept for ever. Acknowledgements are counted between two lines, since they say the same all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from evac.core.estate import RegionId
from evac.core.run import Done, Event, Failed, Forced, Opened, Resumed, RunId, Settled, Started
from evac.sim.writers import Acknowledged


class Trace:
    """The lines so far."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.lines: list[str] = []
        self._clock = clock
        self._yes: Counter[tuple[RegionId, int]] = Counter()

    def tell(self, what: str, text: str) -> None:
        """Add a line, and before it what was acknowledged since the last one."""
        for (node, term), count in self._yes.items():
            self._add("written", f"{count} acknowledged by {node} in term {term}")
        self._yes.clear()
        self._add(what, text)

    def acknowledged(self, yes: Acknowledged) -> None:
        """Count an acknowledgement."""
        self._yes[yes.node, yes.term] += 1

    def entry(self, run: RunId, event: Event) -> None:
        """Add a journal's entry."""
        match event:
            case Opened(plan=plan):
                text = f"opened at term {plan.term}: {plan.kind} {plan.source} to {plan.target}"
            case Forced(person=person, components=components):
                text = f"{person} takes the responsibility for {', '.join(components)}"
            case Resumed(term=term, by=by):
                text = f"taken up at term {term} by {by}"
            case Started(step=step, attempt=attempt, term=term, undo=undo):
                text = f"{'undo of ' if undo else ''}{step} ordered, try {attempt}, term {term}"
            case Done(step=step, receipt=receipt, undo=undo):
                text = f"{'undo of ' if undo else ''}{step} done: {receipt.kind}"
            case Failed(step=step, failure=failure, reason=reason, undo=undo):
                text = f"{'undo of ' if undo else ''}{step} {failure}: {reason}"
            case Settled(outcome=outcome, reasons=reasons):
                text = f"{outcome}{': ' if reasons else ''}{'; '.join(reasons)}"
        self.tell("run", f"{run} {text}")

    def _add(self, what: str, text: str) -> None:
        self.lines.append(f"{self._clock():9.3f}  {what:<9} {text}")
