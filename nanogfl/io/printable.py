"""Names from files of anybody's, made safe to print: a terminal obeys control characters, and a name may hold some."""

import re

# C0 and C1 controls, the marks that turn the direction of writing, line and paragraph separators, halves of characters.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One line in which each of these is written out, such as \\x1b; whatever else any script needs stays as it is."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str, most: int) -> str:
    """The beginning and the end of what is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[len(text) - most // 2 :]}"
