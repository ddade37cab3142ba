"""A command's exit code is the answer, its last line the reason."""

from __future__ import annotations

from evac.core.estate import Probe, RegionId, ServiceId
from evac.drivers.probes import COMMAND
from evac.drivers.probes.command import CommandSettings
from evac.places.local import LocalPlace


async def ask(*argv: str, timeout: str = "5s") -> str:
    settings = CommandSettings.parse({"argv": list(argv), "timeout": timeout})
    probe = Probe(kind="command", service=ServiceId("shop"), region=RegionId("here"), settings=settings)
    prober = await COMMAND.open(probe, LocalPlace())
    return await prober.ask()


async def test_success_says_nothing() -> None:
    assert await ask("true") == ""


async def test_failure_says_its_code_and_last_line() -> None:
    assert await ask("sh", "-c", "echo well; echo queue is full >&2; exit 3") == "exit code 3: queue is full"


async def test_a_missing_program_is_a_reason() -> None:
    assert await ask("/no/such/program")


async def test_a_command_that_takes_too_long_is_a_reason() -> None:
    assert await ask("sleep", "60", timeout="100ms")
