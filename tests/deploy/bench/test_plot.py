"""The picture of a bench: bars as long as the times that they stand for."""

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.bench.plot import COLOURS, plot, write_plot

from .figures import some_cost, some_report


def bars(picture, stage):
    """Length in pixels of this stage's bar in each row, top to bottom, without the heading."""
    rows = (picture == np.array(COLOURS[stage], np.uint8)).all(axis=2)
    rows[:80] = False
    lengths = rows.sum(axis=1)
    starts = np.flatnonzero(lengths.astype(bool) & ~np.roll(lengths.astype(bool), 1))
    return [int(lengths[start]) for start in starts]


def test_a_bar_is_as_long_as_its_median():
    picture = plot(some_report())  # model 10, 6 and 5 ms, pre 1, post .5
    first, second, third = bars(picture, "run")
    assert first / second == pytest.approx(10 / 6, rel=0.02)
    assert first / third == pytest.approx(2, rel=0.02)
    assert bars(picture, "pre")[0] / first == pytest.approx(1 / 10, rel=0.05)


@pytest.mark.parametrize("milliseconds", [0.01, 4000.0])
def test_times_of_any_size_fit(milliseconds):
    costs = [some_cost("folder/a long name of a model, as people give them.onnx", 16, run=milliseconds)]
    picture = plot(some_report(costs))
    assert (picture[:, -8:] == 255).all()  # nothing runs out of the picture
    assert (picture[:, :8] == 255).all()


def test_a_plot_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        write_plot(some_report(), tmp_path / "file" / "plot.png")
    write_plot(some_report(), tmp_path / "plot.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "plot.png")), plot(some_report()))
