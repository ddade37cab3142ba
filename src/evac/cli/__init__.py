"""The command line: one file a command, each a thin caller of the Python API.

Exit codes, the same for every command:
    0  done, and every promise kept
    1  it was done, and something is not as promised (a run that did not complete, a check that failed)
    2  the command line or the estate is wrong; nothing was started
    3  evac refused, because it would not be safe; nothing was changed
    4  what was needed could not be reached (no controller, no store)
   70  evac itself has a defect: what it said is in a file it names
  130  interrupted

What was asked for goes to standard output, everything else (progress, questions, errors) to standard error. With
`--json` standard output is one JSON document; for commands that tell as they go (`serve`, the moves, `demo`) one JSON
object a line. Whether it went well is said by the exit code.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from evac.cli import (
    agent,
    archive,
    automation,
    check,
    demo,
    explain,
    init,
    lab,
    links,
    move,
    plan,
    replication,
    report,
    runs,
    schema,
    serve,
    shift,
    sim,
    status,
    verify,
    what_if,
)
from evac.cli.logs import speak_plainly
from evac.cli.streams import secure_streams
from evac.cli.terminal import ESTATE_DEFAULT, complain
from evac.core.errors import EstateError, EvacError, NameTaken, NotThere, OptionError, UnsafePlan

DONE, BROKEN, WRONG, REFUSED, UNREACHED, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130

EPILOG = """\b
To see it work on this machine:  evac demo
To watch your own systems:       evac init, evac check, evac serve

\b
Exit codes: 0 done, 1 done but not as promised, 2 wrong input, 3 refused as
unsafe, 4 not reached, 70 a defect in evac, 130 interrupted."""

app = typer.Typer(
    name="evac",
    help="Moves a running system out of a failing region, and proves that it can.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"evac {version('evac')}")
        raise typer.Exit


@app.callback()
def _evac(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which evac this is.")
    ] = False,
) -> None:
    """Hold what is said before a command."""


init.add_to(app)
check.add_to(app)
serve.add_to(app)
agent.add_to(app)
status.add_to(app)
explain.add_to(app)
links.add_to(app)
replication.add_to(app)
what_if.add_to(app)
plan.add_to(app)
move.add_to(app)
shift.add_to(app)
runs.add_to(app)
report.add_to(app)
verify.add_to(app)
archive.add_to(app)
automation.add_to(app)
schema.add_to(app)
demo.add_to(app)
sim.add_to(app)
app.add_typer(lab.app, name="lab")


def main() -> None:
    """Run the command line, and turn every error of the world into one message and one exit code."""
    secure_streams()
    speak_plainly()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except (EvacError, OSError) as error:
        sys.exit(_tell(error))
    except BaseExceptionGroup as errors:
        told = _only_the_worlds(errors)
        sys.exit(_own_up() if told is None else _tell(told))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:
        sys.exit(_own_up())


def _tell(error: EvacError | OSError) -> int:
    """Say what went wrong, and return the exit code for it."""
    match error:
        case OSError():
            complain("could not be done", f"{error.filename or 'this machine'}: {error.strerror or error}")
            return UNREACHED
        case OptionError() | NotThere() | NameTaken():
            complain("the command line is wrong; nothing was changed", str(error))
            return WRONG
        case EstateError():
            complain("the estate is wrong", str(error), next_step=_after_mending(error))
            return WRONG
        case UnsafePlan():
            complain("refused; nothing was changed", "\n".join(error.reasons))
            return REFUSED
        case _:  # the tree is open below EvacError: whatever else it is, its message says what to do
            complain("could not be done", str(error))
            return UNREACHED


def _after_mending(error: EstateError) -> str:
    """What to type when what is wrong has been mended."""
    if error.file is None:
        return "mend it, then the same again"
    named = "" if error.file == ESTATE_DEFAULT else f" --estate {shlex.quote(str(error.file))}"
    return f"mend it, then: evac check{named}"


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


def _only_the_worlds(errors: BaseExceptionGroup[BaseException]) -> EvacError | OSError | None:
    """The first of several errors that ended together, if the world is to blame for all of them."""
    worlds, others = errors.split((EvacError, OSError))
    if others is not None or worlds is None:
        return None
    found: BaseException = worlds
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, EvacError | OSError), "split gives only what was asked for"
    return found
