"""`evac links`: what the ways between regions are like, for every vantage point and every region it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    busy,
    console,
    listening,
    print_json,
)
from evac.config import load
from evac.core.errors import EvacError
from evac.core.estate import Estate
from evac.core.links import LATE_BY, LOSS_MIN, Answers, Link, links
from evac.core.observation import Heartbeat, Observation, Probed
from evac.engine.overhearing import Overheard
from evac.opening import overhear_estate
from evac.report.words import columns, count, listed, span, utc

LISTENS_FOR = timedelta(seconds=10)
UNKNOWN = "?"


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("links")
    def show(
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        lasting: Annotated[timedelta, listening("10s")] = LISTENS_FOR,
        as_json: JsonOption = False,
    ) -> None:
        """Show latency and packet loss from every region to every region.

        It listens for a while to what the agents tell of their probes over kept connections. Response times include the
        service's own time; the quickest service's is nearest to the network's. Exits with 1 if a pair is not known.
        """
        declared = load(estate, environment=environment, store=store).estate
        with busy(f"listens to the agents for {span(lasting)}"):
            heard = asyncio.run(
                overhear_estate(
                    estate, wanted=_wanted, lasting=lasting, environment=environment, state=state, store=store
                )
            )
        if not heard.seen:
            raise EvacError(f"no agent told anything for {span(lasting)}: start evac serve, or evac agent everywhere")
        found = links(declared, heard.seen, since=heard.since)
        if as_json:
            print_json(plain(found, heard))
        else:
            out = console()
            for line in lines(found, heard, estate=declared):
                out.print(line, markup=False)
        if not all(known(link) for link in found):
            raise typer.Exit(1)


def _wanted(seen: Observation) -> bool:
    return isinstance(seen, Heartbeat) or (isinstance(seen, Probed) and bool(seen.took) and not seen.as_client)


def known(link: Link) -> bool:
    """Return whether anything came back along a way."""
    return link.smallest is not None or link.failed > 0


def plain(found: Sequence[Link], heard: Overheard) -> dict[str, object]:
    """Return it for machines."""

    def answers(each: Answers) -> dict[str, object]:
        return {f.name: getattr(each, f.name) for f in fields(each)} | {"last": heard.wall_of(each.last)}

    return {
        "since": heard.wall_of(heard.since),
        "until": heard.wall,
        "late_by": LATE_BY,
        "links": [
            {
                "vantage": link.vantage,
                "region": link.region,
                "smallest": link.smallest,
                "beyond_own": link.beyond_own,
                "median": link.median,
                "expected": link.expected,
                "questions": link.questions,
                "unanswered": link.unanswered,
                "failed": link.failed,
                "late": link.late,
                "loss": link.loss,
                "last": None if link.last is None else heard.wall_of(link.last),
                "unknown": link.unknown,
                "services": [answers(each) for each in link.services],
            }
            for link in found
        ],
    }


def lines(found: Sequence[Link], heard: Overheard, *, estate: Estate) -> list[str]:
    """Return what a person reads: what is wrong first, the matrix, then each pair."""
    within = span(estate.detection.timeout)
    said = [
        f"{estate.name}: {_first(found)}",
        f"  as probes over kept connections met it for {span(heard.lasted)}, until {utc(heard.wall)}",
        "",
        "response time: the quickest answer of the service that answers soonest, its own time included, and the way by"
        " which the vantage point is reached if that is ssh",
        *_matrix(found),
        "",
        "beyond own: so much longer than within the vantage point's own region, which is the network's part",
        f"late: {span(LATE_BY)} after the quickest or more, as an answer is for which a packet was sent again;"
        f" lost: none within {within}",
        "loss: packets lost each way, as late and lost answers of the middle service tell",
        *_pairs(found, heard),
    ]
    said += [f"  {link.vantage} to {link.region}: {why}" for link in found for why in _notes(link)]
    return said


def _first(found: Sequence[Link]) -> str:
    """What an engineer is to know, in one line."""
    dark = [link for link in found if not known(link)]
    lossy = [link for link in found if known(link) and link.loses]
    said = [f"{count(len(dark), 'pair')} of {len(found)} not known or silent"] if dark else []
    if lossy:
        worst = max(lossy, key=lambda link: link.loss or 0.0)
        said.append(f"{count(len(lossy), 'pair')} with loss, most {worst.vantage} to {worst.region}, {_loss(worst)}")
    return "; ".join(said) or f"all {len(found)} pairs answer, none seems to lose packets"


def _matrix(found: Sequence[Link]) -> list[str]:
    regions = list(dict.fromkeys(link.region for link in found))
    cells = {(link.vantage, link.region): _time(link.smallest) for link in found}
    return columns([("from \\ to", *regions), *((v, *(cells[v, r] for r in regions)) for v in regions)])


_HEADINGS = ("from", "to", "quickest", "beyond own", "declared", "median", "late", "lost", "loss", "last look")


def _pairs(found: Sequence[Link], heard: Overheard) -> list[str]:
    return columns([_HEADINGS, *(_pair(link, heard) for link in found)])


def _pair(link: Link, heard: Overheard) -> tuple[str, ...]:
    declared = "" if link.expected is None else _time(link.expected)
    if link.last is None:
        return link.vantage, link.region, UNKNOWN, UNKNOWN, declared, *[UNKNOWN] * 5
    return (
        link.vantage,
        link.region,
        _time(link.smallest),
        "" if link.vantage == link.region else _time(link.beyond_own),
        declared,
        _time(link.median),
        f"{link.late} of {link.questions}",
        f"{link.unanswered} of {link.questions}",
        _loss(link),
        f"{span(max(heard.until - link.last, timedelta()))} ago",
    )


def _notes(link: Link) -> Iterator[str]:
    """What the figures of a pair do not say."""
    if link.unknown:
        yield f"unknown: {link.unknown}"
    if link.mute and len(link.mute) == len(link.services):
        yield "nothing answers"
    elif link.mute:
        yield f"{listed(link.mute)}: no answer, others answer, so it is not the way"
    if link.vantage == link.region and (link.loss or 0.0) >= LOSS_MIN:
        yield "answers from its own region are late or missing too: whoever looks, or answers, is busy"
    if link.failed:
        yield f"{count(link.failed, 'answer')} of {link.questions} told of an error: the way is whole"


def _time(took: timedelta | None) -> str:
    """A response time, to the tenth of a millisecond."""
    return UNKNOWN if took is None else f"{took.total_seconds() * 1000:.1f} ms"


def _loss(link: Link) -> str:
    return UNKNOWN if link.loss is None else f"{link.loss:.0%}"
