"""What `evac links` says: what is wrong first, the matrix, each pair with its figures, and why some have none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from evac.cli.links import known, lines, plain
from evac.core.links import Link, links
from evac.core.observation import Observation
from evac.engine.codec import to_plain
from evac.engine.overhearing import Overheard
from evac.sim.estates import EAST, EUROPE, ORDERS, SHOP, WEST, shop
from fakes.estates import beat, probed, seconds

WALL = datetime(2026, 11, 23, 3, 12, 4, tzinfo=UTC)
ESTATE = replace(shop((EAST, WEST)), round_trips={(EAST, WEST): timedelta(milliseconds=62)})
HEARD = Overheard(since=seconds(0), until=seconds(10), wall=WALL, seen=())
WELL: tuple[Observation, ...] = (
    *beat(9, EAST, WEST),
    *(probed(9, vantage, vantage, ORDERS, took=0.0004) for vantage in (EAST, WEST)),
    probed(9.5, EAST, WEST, ORDERS, took=0.0631),
    probed(9, WEST, EAST, ORDERS, took=0.0628),
)


def said(*seen: Observation) -> list[str]:
    return lines(found(*seen), HEARD, estate=ESTATE)


def found(*seen: Observation) -> tuple[Link, ...]:
    return links(ESTATE, seen, since=HEARD.since)


def test_a_calm_estate_is_a_matrix_and_a_line_for_each_pair() -> None:
    told = said(*WELL)
    assert told[0] == "shop: all 4 pairs answer, none seems to lose packets"
    assert told[1] == "  as probes over kept connections met it for 10 s, until 2026-11-23 03:12:04 UTC"
    assert told[4:7] == [
        "from \\ to  us-east-1  us-west-2",
        "us-east-1  0.4 ms     63.1 ms",
        "us-west-2  62.8 ms    0.4 ms",
    ]
    headings, _, there, *_ = told[-5:]
    assert headings.split("  ")[0] == "from"
    assert re.split(" {2,}", there) == [
        "us-east-1", "us-west-2", "63.1 ms", "62.7 ms", "62.0 ms", "63.1 ms", "0 of 1", "0 of 1", "0%", "500 ms ago",
    ]  # fmt: skip
    assert all(map(known, found(*WELL)))


def test_a_pair_that_is_not_known_has_no_figure_at_all() -> None:
    told = said(*(each for each in WELL if getattr(each, "vantage", EAST) == EAST and each not in beat(9, WEST)))
    assert told[0] == "shop: 2 pairs of 4 not known or silent"
    assert told[6] == "us-west-2  ?          ?"
    row = next(line for line in told if line.startswith("us-west-2  us-east-1"))
    assert row.split() == ["us-west-2", "us-east-1", "?", "?", "62.0", "ms", "?", "?", "?", "?", "?"]
    assert told[-2:] == [
        "  us-west-2 to us-east-1: unknown: us-west-2's agent was not heard",
        "  us-west-2 to us-west-2: unknown: us-west-2's agent was not heard",
    ]


def test_loss_and_what_is_no_loss_is_said() -> None:
    lost = [probed(9 + at / 10, EAST, WEST, ORDERS, took=0.3 if at % 2 else 0.06) for at in range(6, 10)]
    told = said(*WELL, *lost)
    assert told[0] == "shop: 1 pair with loss, most us-east-1 to us-west-2, 23%"
    refused = probed(9.8, EAST, WEST, SHOP, ok=False, answered=True)
    silent = probed(9.8, WEST, EAST, SHOP, ok=False)
    assert said(*WELL, refused, silent)[-2:] == [
        "  us-east-1 to us-west-2: 1 answer of 2 told of an error: the way is whole",
        "  us-west-2 to us-east-1: shop: no answer, others answer, so it is not the way",
    ]
    dark = [probed(9, EAST, WEST, ORDERS, ok=False, took=1.0)]
    told = said(*beat(9, EAST), *dark)
    assert "  us-east-1 to us-west-2: nothing answers" in told
    busy = [probed(9.1, EAST, EAST, ORDERS, took=0.5)]
    assert said(*WELL, *busy)[0] == "shop: all 4 pairs answer, none seems to lose packets"
    assert said(*WELL, *busy)[-1].endswith("late or missing too: whoever looks, or answers, is busy")


def test_machines_get_the_same_and_nothing_as_null() -> None:
    told = json.loads(json.dumps(to_plain(plain(found(*WELL[:5]), HEARD))))
    assert (told["since"], told["until"]) == ("2026-11-23T03:11:54+00:00", "2026-11-23T03:12:04+00:00")
    way = next(link for link in told["links"] if (link["vantage"], link["region"]) == (EAST, WEST))
    assert (way["smallest"], way["beyond_own"], way["loss"], way["questions"]) == (63100, 62700, 0.0, 1)
    assert way["last"] == way["services"][0]["last"] == "2026-11-23T03:12:03.500000+00:00"
    back = next(link for link in told["links"] if (link["vantage"], link["region"]) == (WEST, EAST))
    assert (back["smallest"], back["loss"], back["last"], back["unknown"]) == (
        None,
        None,
        None,
        "its agent told of no look there",
    )
    assert EUROPE not in {link["region"] for link in told["links"]}
