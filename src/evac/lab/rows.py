"""What is there in the end: the ids of one run's rows, read from the servers of one region, from inside the lab.

`python -m evac.lab.rows --dir D --orders REGION --carts REGION`, run at a site that reaches those servers, with the
folder of the clients whose rows are meant; prints one JSON object with a list for each store that was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import make_conninfo

from evac.lab.clients.appender import appended_at
from evac.lab.clients.workload import Workload, split
from evac.lab.ledger import rows_at


async def rows(
    workload: Workload, *, orders: str | None, carts: str | None, also: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the ids that the named regions' servers hold of a workload's run, for each store that is asked for.

    `also` names further runs, of clients elsewhere, whose rows are wanted too.
    Raises `psycopg.Error`, `ValkeyError` or `OSError` when a server does not answer.
    """
    runs = (workload.run, *also)
    found: dict[str, tuple[str, ...]] = {}
    if orders is not None:
        host, port = split(workload.postgresql[orders])
        server = make_conninfo(workload.conninfo, host=host, port=port)
        found["orders"] = tuple([row for run in runs for row in await rows_at(server, run=run)])
    if carts is not None:
        address = workload.valkey[carts]
        password = workload.valkey_password
        found["carts"] = tuple([id for run in runs for id in await appended_at(address, password=password, run=run)])
    return found


def main(argv: list[str]) -> None:
    """Read the options and print what is there."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.rows", description="What the clients' writes left.")
    parser.add_argument("--dir", type=Path, required=True, help="the clients' folder")
    parser.add_argument("--orders", metavar="REGION", help="read the ledger there")
    parser.add_argument("--carts", metavar="REGION", help="read the appended lists there")
    parser.add_argument("--also", metavar="RUN", action="append", default=[], help="further runs whose rows are wanted")
    options = parser.parse_args(argv)
    reading = rows(Workload.read(options.dir), orders=options.orders, carts=options.carts, also=options.also)
    print(json.dumps(asyncio.run(reading)))


if __name__ == "__main__":
    main(sys.argv[1:])
