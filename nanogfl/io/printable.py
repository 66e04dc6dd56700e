"""Text from untrusted files, made safe to print: a terminal obeys the control characters in it."""

import re

# C0 and C1 controls, marks that change the direction of writing, line and paragraph separators, surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One line: control characters are written out, such as \\x1b; every script stays as it is."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and end if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[len(text) - most // 2 :]}"
