"""What is written to the terminal: plain text, whatever brackets are in a path."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def make_console() -> Console:
    """Return a console that takes text as it is: a folder called ``[old]`` is no style."""
    return Console(markup=False, highlight=False)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Write lines of any length, without breaking them."""
    for line in lines:
        console.print(line, soft_wrap=True)


def print_titled(console: Console, title: str, colour: str, messages: Iterable[str]) -> None:
    """Write each message behind a coloured title, such as ``"Note: …"``."""
    for message in messages:
        console.print(Text.assemble((f"{title}:", colour), f" {message}"), soft_wrap=True)
