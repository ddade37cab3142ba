"""`evac verify RUN` or `evac verify FILE`: what a run's record proves, without asking anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    console,
    print_json,
)
from evac.core.errors import NotThere
from evac.core.evidence import Promotion
from evac.engine.codec import to_plain
from evac.engine.verifying import RunRecord, Verdict, parse_record, verify
from evac.opening import read_estate
from evac.report.lines import forced
from evac.report.words import utc


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("verify")
    def verify_run(
        what: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run's number, or a record on file.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        key: Annotated[
            list[str] | None,
            typer.Option("--key", help="Count only what this public key has signed; can be given several times."),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Check that a run's record is whole, signed and lawful."""
        pins = _pins(key or [])

        async def stored() -> RunRecord:
            async with read_estate(estate, environment=environment, state=state, store=store) as opened:
                return await opened.record(what)

        record = asyncio.run(stored()) if what.isdecimal() else _on_file(Path(what))
        verdict = verify(record, pins=pins)
        if as_json:
            print_json({"good": verdict.good, **to_plain(verdict)})
        else:
            _show(verdict)
        if not verdict.good:
            raise typer.Exit(1)


def _pins(keys: list[str]) -> frozenset[str]:
    """The public keys as signatures name them. Raises `NotThere` for one that is none."""
    for key in keys:
        try:
            whole = len(bytes.fromhex(key)) == 32
        except ValueError:
            whole = False
        if not whole:
            raise NotThere(f"--key {key} is no public key: it has 64 hexadecimal digits, as evac verify RUN shows it")
    return frozenset(key.lower() for key in keys)


def _on_file(file: Path) -> RunRecord:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise NotThere(
            f"{file} is neither a run's number nor a file that can be read ({error.strerror}); evac runs lists runs"
        ) from None
    return parse_record(data, name=str(file))


def _show(verdict: Verdict) -> None:
    out = console()

    def say(what: str, text: str) -> None:
        out.print(f"{what:<10} {text}", markup=False)

    hold = sum(s.holds for s in verdict.signatures)
    say("run", f"{verdict.run} of {verdict.estate}: {verdict.outcome or 'under way'}")
    say("chain", f"{verdict.linked} of {verdict.entries} entries hold the digest of the one before")
    say(
        "signed", f"{hold} of {len(verdict.signatures)} signatures hold, {'pinned' if verdict.pinned else 'not pinned'}"
    )
    say("terms", ", ".join(map(str, verdict.terms)) or "none")
    for promotion in verdict.promotions:
        say("promotion", _promotion(promotion))
    for word in verdict.words:
        say("word", f"{utc(word.wall)}: {forced(word)}" + (f"; because: {word.reason}" if word.reason else ""))
        for risk in word.risks:
            if risk not in word.told:
                say("", f"evac held possible then: {risk}")
    for key, regions in verdict.keys.items():
        say("key", f"{key}  {', '.join(regions) or 'unknown to the store'}")
    for problem in verdict.problems:
        say("FAIL", problem)
    out.print("verified" if verdict.good else f"not verified, problems: {len(verdict.problems)}", markup=False)


def _promotion(promotion: Promotion) -> str:
    proofs = ", ".join(f"{kind} ({region})" for region, kind in promotion.rests_on.items())
    if promotion.forced_by:
        proofs = f"the word of {promotion.forced_by}" + (f", and {proofs}" if proofs else "")
    return f"{promotion.component} in {promotion.region}, term {promotion.term}, on {proofs or 'nothing'}"
