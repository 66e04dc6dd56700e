"""What ends a command in order: the one exception for what a user can mend, and signals."""

import signal
from importlib.util import find_spec

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""Ctrl-C; an operator, a service manager or a container; a terminal that was closed (not on Windows)"""


class UserError(Exception):
    """One sentence: what was expected, what came, what to do. The CLI prints it and exits with code 2."""


def missing_extra(package: str, extra: str) -> UserError:
    """The sentence for a package that belongs to an extra which is not installed."""
    return UserError(
        f"this command needs the package '{package}', which is not installed: pip install 'nanogfl[{extra}]'"
    )


def require(extra: str, *packages: str) -> None:
    """Raises UserError with the pip command for the first package that is not installed. Imports none of them."""
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(package, extra)


class Interrupted(KeyboardInterrupt):
    """A signal ended the command in order. One sentence: how to go on. `exit_code`: 130, 143 or 129."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
        """what a shell reports of a process that the signal ended"""
