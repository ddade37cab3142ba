"""Every error evac raises for the world, as one tree.

    EvacError
    ├── EstateError          the estate is wrong: file, line, reason; nothing was started
    │   └── OptionError      not the estate, but what was said beside it: --store, --environment
    ├── UnsafePlan           no plan keeps the promises; says which and what a person could do
    ├── NotThere             what was named does not exist: a run, a region; nothing was started
    ├── NameTaken            what was to be made exists already, and is left as it is
    ├── IllegalEvent         a journal says something that cannot follow what it said before
    ├── StoreError
    │   ├── Conflict         somebody else wrote first; nothing was written
    │   └── StoreUnavailable the store did not answer, or cannot for now; a write may have happened
    └── DriverError          a system did not do what it was asked
        ├── Rejected         it refused: nothing happened, asking again the same way will not help
        ├── Unavailable      it could not be reached: nothing happened, asking again may help
        └── Indeterminate    it may have happened: look before anything else is done

The three driver errors are the whole vocabulary of failure between a step and the run it belongs to: a driver that
cannot tell raises `Indeterminate`, never one of the other two. Programming errors are not here: they are assertions.
"""

from __future__ import annotations

from pathlib import Path


class EvacError(Exception):
    """Something in the world went wrong; the message says what, where, and what to do next."""


class EstateError(EvacError):
    """The declared estate cannot be used.

    `problems` lists every one found, each as `file:line: reason`; `file` is the estate's, where one was read.
    """

    def __init__(self, problems: tuple[str, ...], *, file: Path | None = None) -> None:
        assert problems, "an estate error names at least one problem"
        super().__init__("\n".join(problems))
        self.problems = problems
        self.file = file


class OptionError(EstateError):
    """The estate is in order, and an option that goes with it is not."""


class UnsafePlan(EvacError):
    """No plan reaches the goal and keeps the promises; `reasons` are for a person."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        assert reasons, "a refusal carries its reasons"
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class NotThere(EvacError):
    """What was named does not exist; the message says how to list what does."""


class NameTaken(EvacError):
    """What was to be made exists already and is left as it is; the message says what to name instead."""


class IllegalEvent(EvacError):
    """An event that cannot follow the run's state: the journal is damaged, or two leaders wrote it."""


class StoreError(EvacError):
    """The store did not do what it was asked."""


class Conflict(StoreError):
    """A compare-and-set found another version: nothing was written; read again and decide again."""


class StoreUnavailable(StoreError):
    """The store did not answer in time: a write may or may not have happened."""


class DriverError(EvacError):
    """A system did not do what it was asked. `Rejected`, `Unavailable` and `Indeterminate` say how that ended."""


class Rejected(DriverError):
    """The system refused: nothing happened, and the same request will be refused again."""


class Unavailable(DriverError):
    """The system could not be reached: nothing happened, and a later try may succeed."""


class Indeterminate(DriverError):
    """It may have happened, in part or whole: the next thing to do is to look."""
