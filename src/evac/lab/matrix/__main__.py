"""`python -m evac.lab.matrix [--only PATTERN] [--runs N] [--out FILE] [--json]`: play, judge, write down, show.

Runs that are in the file already, with the same seed and the same code, are not played again. Exit code 1 when a
promise was broken or a run could not be played, 2 when no row is meant by the pattern, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import evac
from evac.lab.matrix import table
from evac.lab.matrix.book import Book, BookError, version_of
from evac.lab.matrix.outcome import HARNESS
from evac.lab.matrix.rows import ROWS, select
from evac.lab.matrix.series import matrix


def main(argv: Sequence[str]) -> int:
    """Read the options, play, show the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.matrix", description="Real faults in every mode.")
    parser.add_argument("--only", default="", help="part of a row's name, or a pattern with * (default: all)")
    parser.add_argument("--runs", type=int, default=1, help="seeds a row (1)")
    parser.add_argument("--out", type=Path, default=Path("build/matrix.json"))
    parser.add_argument("--json", action="store_true", help="print the runs as JSON instead of a table")
    options = parser.parse_args(argv)
    say = Console(highlight=False, stderr=options.json, soft_wrap=not sys.stdout.isatty())
    rows = select(options.only)
    if not rows or options.runs < 1:
        say.print(
            f"nothing is called {options.only}, or no runs are wanted; rows:", *(r.name for r in ROWS), sep="\n  "
        )
        return 2
    try:
        book = Book.read(options.out)
    except BookError as error:
        say.print(str(error), markup=False)
        return 2
    version = version_of(Path(evac.__file__).parent)
    evidence = options.out.with_suffix("")

    def tell(line: str) -> None:
        say.print(line, markup=False)

    interrupted = False
    try:
        asyncio.run(matrix(rows, book, seeds=options.runs, version=version, evidence=evidence, say=tell))
    except KeyboardInterrupt:
        interrupted = True
    runs = book.of([row.name for row in rows], seeds=options.runs, version=version)
    if options.json:
        print(json.dumps({"runs": runs}, indent=1))
    else:
        say.print(table.as_table(runs) if sys.stdout.isatty() else table.as_plain(runs), markup=False)
        say.print(f"{table.summary(runs)}; written to {options.out}", markup=False)
    if interrupted:
        say.print("interrupted; the same command goes on from here")
        return 130
    return 1 if any(run["violations"] or run["outcome"] == HARNESS for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
