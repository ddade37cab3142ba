"""Live output: each piece of news as its lines, for people or for machines, as it happens."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from evac.cli.terminal import note, print_json_line
from evac.core.estate import Estate
from evac.core.news import News
from evac.report.lines import Line, Speaker, Word

COLOURS = {
    Word.FAULT: "bold red",
    Word.VERDICT: "yellow",
    Word.DECISION: "cyan",
    Word.FENCE: "magenta",
    Word.PROMOTE: "bold green",
    Word.SHIFT: "green",
    Word.VERIFY: "green",
    Word.DONE: "bold green",
    Word.STUCK: "bold red",
}
"""Colour only repeats what the word already says."""


class Teller:
    """Prints news as it comes. It is an `Announce`: it returns at once, and what it cannot print is not worth a run."""

    def __init__(self, *, as_json: bool, estate: Estate | None = None) -> None:
        self._speaker = Speaker(estate)
        self._as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)

    def __call__(self, news: News) -> None:
        for line in self._speaker.tell(news):
            self.line(line)

    def line(self, line: Line) -> None:
        """Print one line."""
        if self._as_json:
            print_json_line(line.plain())
        elif self._out.is_terminal:
            self._out.print(Text(str(line), style=COLOURS.get(line.word, "")))
        else:
            print(line, flush=True)

    def say(self, text: str) -> None:
        """Print a sentence that is no news; machines do not get it."""
        if not self._as_json:
            note(text)
