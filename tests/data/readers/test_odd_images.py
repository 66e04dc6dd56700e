"""Odd image files: data check, training, evaluation and detection treat them alike."""

import os
from io import BytesIO

import cv2
import numpy as np
import pytest

from nanogfl.config import DataConfig
from nanogfl.data.cache.frames import open_frames, without_unreadable
from nanogfl.data.lint.images import look_at_images
from nanogfl.errors import UserError
from nanogfl_deploy.sources.open import Pictures
from tests.data.image_sets import SPEC, data_set, write_image

HW = (50, 70)
COUNTS = np.random.default_rng(0).integers(0, 65536, HW).astype(np.uint16)
COLOURS = np.random.default_rng(1).integers(0, 256, (*HW, 3)).astype(np.uint8)


def png(picture):
    return cv2.imencode(".png", picture)[1].tobytes()


def grey_with_alpha(counts, alpha):
    """Which OpenCV does not write."""
    pil = pytest.importorskip("PIL.Image")
    file = BytesIO()
    pil.fromarray(np.dstack([counts >> 8, np.full(HW, alpha)]).astype(np.uint8), "LA").save(file, "PNG")
    return file.getvalue()


def with_pil(mode, kind, **more):
    pil = pytest.importorskip("PIL.Image")
    file = BytesIO()
    pil.fromarray(COLOURS[:, :, ::-1]).convert(mode).save(file, kind, **more)
    return file.getvalue()


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


WHOLE = {
    "16 bits": lambda: png(COUNTS),
    "a palette": lambda: with_pil("P", "PNG"),
    "CMYK": lambda: with_pil("CMYK", "JPEG"),
}
NOTED = {
    "12 bits": (lambda: png(COUNTS >> 4), "6.2% of the range"),
    "grey with alpha": (lambda: grey_with_alpha(COUNTS, 7), "transparency"),
    "an animation": (lambda: with_pil("P", "GIF", save_all=True, append_images=[_other()]), "other pages or frames"),
    "pages": (lambda: with_pil("RGB", "TIFF", save_all=True, append_images=[_other()]), "other pages or frames"),
}
REFUSED = {
    "nothing": (b"", "empty"),
    "half a picture": (png(COLOURS)[:3000], "truncated PNG"),
    "numbers with a point": (cv2.imencode(".tiff", COLOURS.astype(np.float32))[1].tobytes(), "float32"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a pipe": (os.mkfifo, "a device or a pipe"),
    "a folder": (lambda path: path.mkdir(), "a folder"),
    "a link to nothing": (lambda path: path.symlink_to("none"), "does not exist"),
    "a terabyte": (sparse, "more than"),
}


def _other():
    pil = pytest.importorskip("PIL.Image")
    return pil.fromarray(255 - COLOURS)


@pytest.fixture
def told(tmp_path):
    """What each of them says of the file odd.png beside a good one; None: it is left out, with that sentence."""

    def tell(content):
        folder = tmp_path / "images"
        folder.mkdir()
        write_image(folder / "good.png", 0)
        odd = folder / "odd.png"
        if callable(content):
            content(odd)
        else:
            odd.write_bytes(content)
        dataset = data_set([folder / "good.png", odd])
        said = {}
        looks = look_at_images([odd])
        said["check"] = (looks.complaints[0] is None, looks.complaints[0] or "\n".join(looks.notes[0]))
        for cache in ("memmap", "memory", "off"):
            config = DataConfig(cache=cache, cache_dir=str(tmp_path / "cache"))
            said[f"training with {cache}"] = _problem(open_frames(dataset, SPEC, config)[0], odd)
        said["again"] = _problem(
            open_frames(dataset, SPEC, DataConfig(cache="memmap", cache_dir=str(tmp_path / "cache")))[0], odd
        )
        said["evaluation"] = _problem(without_unreadable(dataset, strict=False), odd)
        source = Pictures(folder)
        names = [name for name, _ in source]
        notes = "\n".join(first.partition(": ")[2] for _, first in source.noted.values())
        said["detection"] = ("odd.png" in names, notes or "\n".join(source.skipped))
        return said

    return tell


def _problem(dataset, odd):
    reasons = [problem.reason for problem in dataset.problems if problem.where == odd.name]
    kept = any(image.path == odd for image in dataset.images)
    return kept, "\n".join(reason if kept else reason.removeprefix("unreadable image: ") for reason in reasons)


@pytest.mark.parametrize("name", WHOLE)
def test_images_that_are_read_completely_are_kept_without_a_note(told, name):
    assert set(told(WHOLE[name]()).values()) == {(True, "")}


@pytest.mark.parametrize("name", NOTED)
def test_images_that_are_read_in_part_have_the_same_note_everywhere(told, name):
    content, expected = NOTED[name]
    (answer,) = set(told(content()).values())
    assert answer[0]
    assert expected in answer[1]


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_images_are_left_out_with_the_same_sentence_everywhere(told, name):
    content, expected = REFUSED[name]
    (answer,) = set(told(content).values())
    assert not answer[0]
    assert "odd.png" in answer[1]
    assert expected in answer[1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_left_out_with_the_same_sentence_everywhere(told):
    def closed(path):
        path.write_bytes(png(COLOURS))
        path.chmod(0)

    (answer,) = set(told(closed).values())
    assert not answer[0]
    assert "permission" in answer[1].lower()


def test_a_single_unreadable_image_ends_with_the_same_sentence(tmp_path):
    (tmp_path / "odd.png").write_bytes(b"%PDF-1.7")
    for read in (
        lambda: list(Pictures(tmp_path / "odd.png")),
        lambda: open_frames(data_set([tmp_path / "odd.png"]), SPEC, DataConfig(cache="memory")),
    ):
        with pytest.raises(UserError, match=r"odd\.png .* PDF"):
            read()
