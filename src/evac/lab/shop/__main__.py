"""Run the shop of one region: `python -m evac.lab.shop --region R --listen HOST:PORT --pg CONNINFO --valkey URL`.

It prints `ready` on a line of its own when it listens, and stops on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from evac.lab.shop.http import serve_connection
from evac.lab.shop.service import Pools, Shop, open_valkey
from evac.lab.shop.sessions import Sessions


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m evac.lab.shop", description="The lab's shop, in one region.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--pg", required=True, metavar="CONNINFO", help="libpq connection string of this region's server"
    )
    parser.add_argument("--valkey", required=True, metavar="URL", help="HOST:PORT, or valkey://[:PASSWORD@]HOST:PORT/0")
    parser.add_argument("--sessions", type=int, default=12, help="most connections for orders (12)")
    parser.add_argument("--patience", type=float, default=1.0, help="seconds to wait for a store (1)")
    return parser.parse_args(argv)


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host, _, port = options.listen.rpartition(":")
    url = options.valkey if "://" in options.valkey else f"valkey://{options.valkey}/0"
    pools = Pools(
        orders=Sessions(options.pg, most=options.sessions, limit=options.patience),
        health=Sessions(options.pg, most=2, limit=options.patience),
        canary=Sessions(options.pg, most=2, limit=options.patience),
    )
    carts = open_valkey(url, limit=options.patience)
    async with asyncio.TaskGroup() as background:
        shop = Shop(region=options.region, pools=pools, carts=carts, background=background, patience=options.patience)
        server = await asyncio.start_server(lambda r, w: serve_connection(shop, r, w), host, int(port))
        print("ready", flush=True)
        await stopped.wait()
        server.close()
        os._exit(0)  # not by cancelling: PostgreSQL would end a cancelled wait for its standbys with a yes


if __name__ == "__main__":
    asyncio.run(run(_options(sys.argv[1:])))
