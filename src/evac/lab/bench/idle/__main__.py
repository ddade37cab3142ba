"""`python -m evac.lab.bench.idle [--mode async] [--quads 10] [--block 20] [--first]`: measure, print, write down.

Exit code 1 when evac certainly costs more than it may.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from evac.lab.bench.idle.comparison import COST_MAX, Block, Comparison, Interval, compare
from evac.lab.bench.idle.play import Load, play

LABS = Path("build/idle")


def as_table(modes: dict[str, Comparison]) -> Table:
    """Return a column a mode."""
    table = Table(title="what an idle evac costs the primary it watches", title_justify="left")
    for heading in ("", *modes):
        table.add_column(heading)
    for name, said in _lines(modes).items():
        table.add_row(name, *said)
    return table


def _lines(modes: dict[str, Comparison]) -> dict[str, list[str]]:
    found = modes.values()
    lines = {
        "throughput without evac": [f"{each.tps_off:.0f} tps, {each.quads} quads" for each in found],
        "throughput lost to it": [_said(each.throughput) for each in found],
        f"at most {COST_MAX:.0%}": [each.throughput.verdict(COST_MAX) for each in found],
        "more processor time a transaction": [_said(each.cpu_per_transaction) for each in found],
        "backends that serve it, of all the primary's": [_said(each.serving) for each in found],
    }
    for name in dict.fromkeys(name for each in found for name in each.serving_by):
        lines[f"- {name}"] = [f"{each.serving_by.get(name, 0.0):.2%}" for each in found]
    lines["transactions, connections a second"] = [
        f"{each.commits_per_s:.1f}, {each.sessions_per_s:.2f}" for each in found
    ]
    for name in dict.fromkeys(name for each in found for name in each.others):
        lines[f"{name}: of a processor"] = [f"{each.others.get(name, 0.0):.1%}" for each in found]
    return lines


def _said(interval: Interval) -> str:
    return f"{interval.mean:.2%} ({interval.low:.2%} to {interval.high:.2%})"


def main(argv: Sequence[str]) -> int:
    """Read the options, measure, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.bench.idle", description="Measure an idle evac's cost.")
    parser.add_argument("--mode", choices=("sync", "async"), action="append", help="default: both")
    parser.add_argument("--quads", type=int, default=10, help="each is four blocks: evac on, off, off, on (10)")
    parser.add_argument("--block", type=int, default=20, help="length of a block in seconds (20)")
    parser.add_argument("--first", action="store_true", help="pgbench and the primary before all else on this machine")
    parser.add_argument("--out", type=Path, default=Path("build/idle.json"))
    options = parser.parse_args(argv)
    say = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    modes: dict[str, Comparison] = {}
    blocks: dict[str, list[Block]] = {}
    for mode in options.mode or ("async", "sync"):
        load = Load(block_s=options.block, first=options.first)
        blocks[mode] = asyncio.run(play(LABS / mode, mode=mode, quads=options.quads, load=load, say=say.print))
        modes[mode] = compare(blocks[mode])
        written = {name: asdict(each) | {"blocks": [asdict(b) for b in blocks[name]]} for name, each in modes.items()}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(written, indent=1) + "\n")
    say.print(as_table(modes))
    say.print(f"written to {options.out}")
    return 1 if any(each.throughput.low > COST_MAX for each in modes.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
