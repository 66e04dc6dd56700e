"""What the functions print, if asked to."""

from collections.abc import Callable

from nanogfl.io.printable import printable


def teller(verbose: bool) -> Callable[[str], None]:
    """Prints a line, without the characters that would command a terminal; without `verbose` nothing."""

    def tell(line: str) -> None:
        if verbose:
            print(printable(line), flush=True)

    return tell
