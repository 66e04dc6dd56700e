"""Printing for people: names from files cannot control the terminal."""

import click

from nanogfl.errors import UserError
from nanogfl.io.printable import printable, shortened

_LONGEST_ERROR = 2000
"""characters: an error may quote megabytes"""


def say(text: str, *, err: bool = False) -> None:
    """Prints one line; control characters in it are written out."""
    click.echo(printable(text), err=err)


def say_lines(text: str) -> None:
    """Prints several lines."""
    for line in text.split("\n"):
        say(line)


def error_line(error: UserError | click.ClickException) -> str:
    """The line that a command ends with."""
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return f"nanogfl: {printable(shortened(message, _LONGEST_ERROR))}"
