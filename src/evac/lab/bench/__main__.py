"""`python -m evac.lab.bench [--case PATTERN] [--runs N] [--out FILE]`: play, judge, print, and write it down.

Exit code 1 when a case missed what it has to reach, 2 when no case is meant by the pattern.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evac.core.errors import EvacError
from evac.lab.bench.cases import CASES, Case, Scenario, by_scenario, select
from evac.lab.bench.results import Result, Trial, as_json, conclude
from evac.lab.bench.stage import stage
from evac.lab.bench.table import as_table
from evac.lab.bench.trial import perform

LABS = Path("build/bench")
"""Each trial's lab has its folder here, with every record and log in it."""

TRIAL_WAIT_S = 420.0


async def measure(scenario: Scenario, cases: Sequence[Case], *, runs: int, say: Console) -> list[Result]:
    """Play a scenario several times, and return the results of the cases it answers."""
    trials: dict[str, list[Trial]] = {case.name: [] for case in cases}
    errors: list[str] = []
    for n in range(1, runs + 1):
        folder = LABS / cases[0].name.replace("/", "-") / str(n)
        try:
            async with asyncio.timeout(TRIAL_WAIT_S), stage(folder, mode=scenario.mode, form=scenario.form) as on:
                shown = await perform(scenario, on)
        except (EvacError, OSError) as error:
            errors.append(str(error) or type(error).__name__)
            say.print(f"{cases[0].name} {n}/{runs}: could not be made: {errors[-1]}", markup=False)
            continue
        for case in cases:
            trials[case.name].append(shown[case.store])
            say.print(f"{case.name} {n}/{runs}: {_in_words(case, shown[case.store])}", markup=False)
    return [conclude(case, trials[case.name], errors) for case in cases]


def _in_words(case: Case, trial: Trial) -> str:
    figure = getattr(trial, case.figure)
    verdict = trial.verdict
    return (
        f"{'-' if figure is None else f'{figure:.2f}'} s, run {trial.outcome}, "
        f"{verdict.acknowledged} acknowledged, {len(verdict.lost)} lost, {trial.orphans_reported} orphans listed, "
        f"{len(verdict.two_owners)} by a second owner{'' if trial.rejoined else '; ' + trial.note}"
    )


def write(results: Sequence[Result], out: Path) -> None:
    """Write the results as far as there are any."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"cases": [as_json(result) for result in results]}, indent=1) + "\n")


def main(argv: Sequence[str]) -> int:
    """Read the options, measure, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.bench", description="Measure recoveries in the lab.")
    parser.add_argument("--case", default="", help="part of a case's name, or a pattern with * (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="trials a case (5)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args(argv)
    cases = select(options.case)
    say = Console(highlight=False, width=None if sys.stdout.isatty() else 220)
    if not cases:
        say.print(f"no case is called {options.case}; there are:", *(case.name for case in CASES), sep="\n  ")
        return 2
    shutil.rmtree(LABS, ignore_errors=True)
    results: list[Result] = []
    for scenario, answered in by_scenario(cases).items():
        results += asyncio.run(measure(scenario, answered, runs=options.runs, say=say))
        write(results, options.out)
    say.print(as_table(results))
    say.print(f"written to {options.out}; each trial's record is under {LABS}")
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
