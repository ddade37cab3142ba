"""A plan as lines for people."""

from __future__ import annotations

from datetime import timedelta

from evac.core.objectives import Forecast
from evac.core.plan import RunKind, Term
from evac.core.planning import plan_move
from evac.report.plans import plan_lines
from evac.sim.estates import EAST, WEST, shop
from fakes.estates import judged, move, situation

NONE = Forecast(rto=timedelta(), rto_p95=timedelta(), critical_path=(), rpo=timedelta(), rpo_basis=())


def test_what_a_step_waits_for_is_told_by_numbers_and_many_in_a_row_as_one() -> None:
    estate = shop()
    plan = plan_move(move(EAST, WEST, kind=RunKind.SWITCHOVER), situation(estate, judged(estate)), term=Term(2))
    lines = plan_lines(plan, NONE)
    for line in (
        "  1  prepare  prepare shop-dns in us-east-1  (at once)",
        " 10  prepare  follow carts-cache in eu-west-1  (after 8; can be undone)",
        " 12  fence    stop carts-cache in us-east-1  (after 1-10; can be undone)",
        " 14  promote  promote carts-cache in us-west-2  (after 11, 12, 13; pivot: no way back after this)",
        " 20  shift    shift shop-lb in eu-west-1  (after 13; can be undone)",
        " 22  verify   verify orders-db in us-west-2  (after 13, 9, 15-20)",
    ):
        assert line in lines
