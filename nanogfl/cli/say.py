"""What a command prints: lines for people, in which names from files cannot command the terminal."""

import click

from nanogfl.errors import UserError
from nanogfl.io.printable import printable, shortened

_LONGEST_ERROR = 2000
"""characters: a sentence quotes what came, which may be megabytes"""


def say(text: str, *, err: bool = False) -> None:
    """One line, whatever it holds."""
    click.echo(printable(text), err=err)


def say_lines(text: str) -> None:
    """A table, whose newlines stay."""
    for line in text.split("\n"):
        say(line)


def error_line(error: UserError | click.ClickException) -> str:
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return f"nanogfl: {printable(shortened(message, _LONGEST_ERROR))}"
