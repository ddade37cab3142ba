"""`evac shift`: a person sends clients in by another region's door; nothing else moves."""

from __future__ import annotations

from typing import Annotated

import typer

from evac.cli.move import Asked, ReasonOption
from evac.cli.opening import Chosen
from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    GroupOption,
    JsonOption,
    StateOption,
    StoreOption,
    YesOption,
)
from evac.core.snapshot import Wish


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("shift")
    def shift(
        to: Annotated[
            str | None, typer.Argument(help="The region to enter by. Default: the nearest other one.")
        ] = None,
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        group: GroupOption = None,
        reason: ReasonOption = "",
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Send clients in by another region's door. What serves them stays where it is."""
        chosen = Chosen(estate=estate, environment=environment, state=state, store=store, group=group)
        asked = Asked(chosen=chosen, as_json=as_json, yes=yes, reason=reason)
        asked.move(Wish.SHIFT, source=None, target=to)
