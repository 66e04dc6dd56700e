"""Any bytes in the files of a folder: a data set, or one sentence.

Few examples in the suite; a longer run: NANOGFL_FUZZ=20000 python -m pytest tests/data/folder/test_fuzz.py
"""

import os
import random
from pathlib import Path

import pytest

from nanogfl.data.folder.read_folder import read_folder, summary
from nanogfl.errors import UserError
from tests.data.folder.test_habits import HABITS, write

pytestmark = pytest.mark.slow

PIECES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"../", b"nan", b"-1", b"1e999", b"9" * 5000, b"null", b"[]", b"{}",
    b'"', b",", b"[", b"]", b"{", b"}", b"<", b">", b"&#0;", b"<!ENTITY a 'b'>", b"\\ud800", b"\x1b", b"true", b" ",
    b"*a", b"0", b"1.5", b"[[", b"x" * 300, b"/", b"\n\n", b"-inf", b"cat", b": ", b"- ",
)  # fmt: skip


def mutated(content: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(content))
        content = content[:at] + draw.choice(PIECES) + content[min(len(content), at + draw.randint(0, 20)) :]
    return content


@pytest.mark.parametrize("seed", range(int(os.environ.get("NANOGFL_FUZZ", "100"))))
def test_any_bytes_are_a_data_set_or_one_sentence(seed, tmp_path):
    draw = random.Random(seed)
    habit = draw.choice(HABITS)
    texts = [
        (name, content.encode() if isinstance(content, str) else content)
        for name, content in habit.files.items()
        if not isinstance(content, Path)
        and Path(name).suffix.lower() in (".json", ".xml", ".txt", ".csv", ".yaml", ".data")
    ]
    if texts:
        name, content = draw.choice(texts)
        habit = habit._replace(files={**habit.files, name: mutated(content, draw)})
    root = write(tmp_path, habit)
    try:
        found = read_folder(root, **habit.options)
        said = [*found.remarks, *summary(found).splitlines()]
    except UserError as error:
        said = [str(error)]
    assert all(len(sentence.splitlines()) == 1 for sentence in said)
