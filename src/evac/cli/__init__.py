"""The command line: one file a command, each a thin caller of the Python API.

Exit codes, the same for every command:
    0  done, and every promise kept
    1  it was done, and something is not as promised (a run that did not complete, a check that failed)
    2  the command line or the estate is wrong; nothing was started
    3  evac refused, because it would not be safe; nothing was changed
    4  what was needed could not be reached (no controller, no store)
   70  evac itself has a defect: what it said is in a file it names
  130  interrupted
"""

from __future__ import annotations

import sys
import tempfile
import traceback

import typer

from evac.cli import (
    agent,
    automation,
    check,
    demo,
    init,
    lab,
    move,
    plan,
    report,
    runs,
    schema,
    serve,
    shift,
    status,
)
from evac.cli.logs import speak_plainly
from evac.cli.terminal import complain
from evac.core.errors import EstateError, EvacError, NotThere, UnsafePlan

DONE, BROKEN, WRONG, REFUSED, UNREACHED, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130

app = typer.Typer(
    name="evac",
    help="Moves a running system out of a failing region, and proves that it can.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
init.add_to(app)
check.add_to(app)
serve.add_to(app)
agent.add_to(app)
status.add_to(app)
plan.add_to(app)
move.add_to(app)
shift.add_to(app)
runs.add_to(app)
report.add_to(app)
automation.add_to(app)
schema.add_to(app)
demo.add_to(app)
app.add_typer(lab.app, name="lab")


def main() -> None:
    """Run the command line, and turn every error of the world into one message and one exit code."""
    speak_plainly()
    try:
        app()
    except EvacError as error:
        sys.exit(_tell(error))
    except BaseExceptionGroup as errors:
        told = _only_ours(errors)
        sys.exit(_own_up() if told is None else _tell(told))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        complain("could not be done", f"{error.filename or 'this machine'}: {error.strerror or error}")
        sys.exit(UNREACHED)
    except Exception:
        sys.exit(_own_up())


def _tell(error: EvacError) -> int:
    """Say what went wrong, and return the exit code for it."""
    match error:
        case EstateError():
            complain("the estate is wrong", str(error), next_step="mend it, then: evac check")
            return WRONG
        case NotThere():
            complain("the command line is wrong; nothing was changed", str(error))
            return WRONG
        case UnsafePlan():
            complain("refused; nothing was changed", "\n".join(error.reasons))
            return REFUSED
        case _:  # the tree is open below EvacError: whatever else it is, its message says what to do
            complain("could not be done", str(error))
            return UNREACHED


def _own_up() -> int:
    """Say that evac itself is at fault, keep the trace for whoever mends it, and return the exit code."""
    with tempfile.NamedTemporaryFile("w", prefix="evac-defect-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    complain(
        "a defect in evac itself",
        f"{sys.exception()!r}\nwhat evac manages runs on as it is; a running evac serve is not touched by this",
        next_step=f"report it with {file.name}",
    )
    return DEFECT


def _only_ours(errors: BaseExceptionGroup[BaseException]) -> EvacError | None:
    """The first of several errors that ended together, if the world is to blame for all of them."""
    ours, others = errors.split(EvacError)
    if others is not None or ours is None:
        return None
    found: BaseException = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, EvacError), "split gives only what was asked for"
    return found
