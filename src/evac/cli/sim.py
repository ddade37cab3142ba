"""`evac sim`: evac itself in virtual time, through what a seed lets go wrong, under watch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import typer

from evac.cli.terminal import JsonOption, note, print_json_line
from evac.core.estate import ReplicationMode
from evac.sim import campaign
from evac.sim.campaign import Choice, Tally
from evac.sim.scenarios import SCENARIOS
from evac.sim.setting import REGIONS, Result
from evac.sim.simulation import simulate

TOLD_EACH = 100
"""After so many seeds a person is told how far it is."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("sim")
    def sim(
        seed: Annotated[int | None, typer.Option("--seed", help="Simulate this one and show its trace.")] = None,
        seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Simulate so many.")] = None,
        first: Annotated[int, typer.Option("--from", help="The first one of many.")] = 0,
        scenario: Annotated[
            str | None,
            typer.Option(
                "--scenario",
                metavar="NAME",
                help=f"Play an outage that has happened: {', '.join(SCENARIOS)}; or `list` them.",
            ),
        ] = None,
        regions: Annotated[
            int | None, typer.Option("--regions", min=REGIONS[0], max=REGIONS[-1], help="Default: 3 or 5, by the seed.")
        ] = None,
        mode: Annotated[
            ReplicationMode | None, typer.Option("--mode", help="How databases replicate. Default: by the seed.")
        ] = None,
        jobs: Annotated[
            int | None, typer.Option("--jobs", min=1, help="So many at a time. Default: one a processor.")
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Play regions through faults, and check every promise.

        Agents, elections and runs are real; store and databases are models. The same seed is the same simulation.
        Exits with 1 if a promise was broken.
        """
        if [seed, seeds, scenario].count(None) != 2:
            raise typer.BadParameter(
                "name one: --seed N to see a simulation, --seeds N to run many, --scenario NAME for a past outage"
            )
        if scenario is not None:
            if (regions, mode) != (None, None):
                raise typer.BadParameter("a scenario has its regions and its mode", param_hint="--scenario")
            if _scenario(scenario, as_json=as_json):
                raise typer.Exit(1)
            return
        choice = Choice(regions=regions, mode=mode)
        if seed is not None:
            broken = _show(seed, choice, as_json=as_json)
        else:
            assert seeds is not None, "one of the two is given"
            broken = _many(range(first, first + seeds), choice, jobs=jobs or os.cpu_count() or 1, as_json=as_json)
        if broken:
            raise typer.Exit(1)


def _scenario(name: str, *, as_json: bool) -> bool:
    """Play one, or list them all; return whether a promise was broken, or the outcome is not as it should be."""
    if name == "list":
        if as_json:
            print_json_line({name: scenario.about for name, scenario in SCENARIOS.items()})
        else:
            for known, scenario in SCENARIOS.items():
                print(f"{known:<28} {scenario.about}")
        return False
    if name not in SCENARIOS:
        raise typer.BadParameter(f"none is named {name}: {', '.join(SCENARIOS)}", param_hint="--scenario")
    with campaign.silence():
        result, unlike = SCENARIOS[name].play()
    _print(result, as_json=as_json, more={"scenario": name, "unexpected": list(unlike)})
    if not as_json:
        print(f"{name}: {'; '.join(unlike) or 'as expected'}. {SCENARIOS[name].about}")
    return bool(result.violations or unlike)


def _show(seed: int, choice: Choice, *, as_json: bool) -> bool:
    with campaign.silence():
        result = simulate(choice.setup(seed))
    _print(result, as_json=as_json)
    return bool(result.violations)


def _print(result: Result, *, as_json: bool, more: Mapping[str, object] | None = None) -> None:
    if as_json:
        print_json_line(
            {
                **(more or {}),
                "setup": str(result.setup),
                "digest": result.digest,
                "simulated_s": round(result.simulated_s, 3),
                "violations": [{"rule": v.rule, "at_s": v.at_s, "what": v.what} for v in result.violations],
                "trace": list(result.trace),
            }
        )
    else:
        for line in result.trace:
            print(line)
        runs = ", ".join(f"{n} {what}" for what, n in result.runs.items()) or "no run"
        held = "every promise was kept" if not result.violations else f"{len(result.violations)} broken"
        print(f"{held}: {result.acknowledged.total()} writes acknowledged, {runs}; trace {result.digest}")


def _many(seeds: range, choice: Choice, *, jobs: int, as_json: bool) -> bool:
    count = 0

    def told(result: Result) -> None:
        nonlocal count
        count += 1
        for violation in result.violations:
            note(f"{result.setup}: {violation}\n  see it: {choice.replay(result.setup.seed)}")
        if count % TOLD_EACH == 0:
            note(f"{count} of {len(seeds)} seeds")

    tally = campaign.run(seeds, choice=choice, told=told, jobs=jobs)
    if as_json:
        print_json_line(tally.plain())
    else:
        _sum_up(tally, choice)
    return bool(tally.violations)


def _sum_up(tally: Tally, choice: Choice) -> None:
    speed = tally.simulated_s / max(tally.wall_s, 1e-9)
    print(f"{tally.seeds} seeds, {tally.violations} violations")
    print(f"{tally.simulated_s:.0f} simulated seconds in {tally.wall_s:.1f} s, {speed:.0f} a second")
    print(f"{len(tally.states)} distinct states, {tally.acknowledged} writes acknowledged")
    for what, counted in (("faults", tally.faults), ("runs", tally.runs)):
        print(f"{what}: " + ", ".join(f"{name} {n}" for name, n in sorted(counted.items())))
    for seed in tally.failed:
        print(f"see what broke: {choice.replay(seed)}")
