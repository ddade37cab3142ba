"""Run the clients: `python -m evac.lab.clients --dir D`, where D has a `workload.json`; they write their record there.

They end on SIGTERM, after the time or the number of writes the workload names, and always after hearing how their last
writes ended.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from evac.lab.clients.appender import Appender, append_all
from evac.lab.clients.direct import write_orders
from evac.lab.clients.names import Names
from evac.lab.clients.record import Pace, Record
from evac.lab.clients.web import send_orders
from evac.lab.clients.workload import Workload, split


async def run(folder: Path, workload: Workload) -> None:
    """Run all clients of a workload until it ends."""
    record = Record(folder, run=workload.run, writes_max=workload.writes_max)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, record.stop.set)
    loop.call_later(workload.seconds_max, record.stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(record.keep_summary())
            start_orders(group, workload, record)
            start_appends(group, workload, record)
            print("ready", flush=True)
    finally:
        record.close()


def start_orders(group: asyncio.TaskGroup, workload: Workload, record: Record) -> None:
    """Start the clients that write orders, spread evenly over their common rate."""
    web = workload.web if workload.entries else 0
    direct = workload.direct if workload.postgresql else 0
    paces = iter(_paces(web + direct, rate=workload.rate))
    names = Names(workload.name, servers=workload.dns, entries=workload.entries)
    for i in range(web):
        port = split(workload.entries[0])[1]
        group.create_task(
            send_orders(client=f"web{i}", names=names, port=port, pace=next(paces), record=record, limit=workload.limit)
        )
    for i in range(direct):
        group.create_task(
            write_orders(
                client=f"{workload.via}{i}",
                servers=workload.postgresql,
                conninfo=workload.conninfo,
                via=workload.via,
                pace=next(paces),
                record=record,
                limit=workload.limit,
            )
        )


def start_appends(group: asyncio.TaskGroup, workload: Workload, record: Record) -> None:
    """Start the clients that append to Valkey."""
    count = workload.appenders if workload.valkey else 0
    for i, pace in enumerate(_paces(count, rate=workload.append_rate)):
        appender = Appender(
            workload.valkey, password=workload.valkey_password, limit=workload.limit, wait=workload.wait
        )
        group.create_task(append_all(client=f"append{i}", appender=appender, pace=pace, record=record))


def _paces(count: int, *, rate: float) -> list[Pace]:
    """Return a pace for each of so many clients, together at that rate, one after the other."""
    interval = count / rate if rate else 0.0
    return [Pace(interval=interval, offset=i * interval / count) for i in range(count)]


def main(argv: list[str]) -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m evac.lab.clients", description="The lab's clients.")
    parser.add_argument("--dir", type=Path, required=True, help="folder with workload.json; the record goes there")
    parser.add_argument("--rate", type=float, help="orders a second, instead of the workload's")
    parser.add_argument("--seconds", type=float, help="end after so long, instead of the workload's time")
    options = parser.parse_args(argv)
    changes = {"rate": options.rate, "seconds_max": options.seconds}
    workload = Workload.read(options.dir).model_copy(update={k: v for k, v in changes.items() if v is not None})
    asyncio.run(run(options.dir, workload))


if __name__ == "__main__":
    main(sys.argv[1:])
