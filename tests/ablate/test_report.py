"""The table: mean and range by hand, what is missing, Markdown that shows names literally."""

import json
import re
from dataclasses import replace

import cv2
import pytest

from nanogfl.ablate.report import Result, escape, markdown, save_plot, tabulate, write_table
from nanogfl.ablate.spec import Ablation, Budget, Paper, Row

NAMES = ("beta 0", "a|b *c* `d`")
ABLATION = Ablation(
    base="recipe.yaml",
    rows={NAMES[0]: Row({"loss.beta": 0}, 37.6), NAMES[1]: Row({"loss.beta": 1})},
    budget=Budget(epochs=4),
    seeds=(0, 1, 5),
    title="exponents",
    paper=Paper("GFL", "table 1c"),
)


def result(row: int, seed: int, ap: float | None, seconds: float = 60.0) -> Result:
    return Result(NAMES[row], seed, {"ap": ap, "ap50": 0.9}, 4, seconds, {})


WHOLE = [
    *(result(0, seed, ap, minutes * 60) for seed, ap, minutes in ((0, 0.10, 1), (1, 0.13, 2), (5, 0.19, 6))),
    *(result(1, seed, 0.2) for seed in (0, 1, 5)),
]


def cells(ablation: Ablation, results: list[Result]) -> list[list[str]]:
    """The header and the rows, without the rule."""
    table = markdown(ablation, tabulate(ablation, results))
    lines = [table[0], *(line for line in table[2:] if line.startswith("|"))]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_mean_and_range_over_seeds_stand_beside_the_papers_figure():
    assert cells(ABLATION, WHOLE) == [
        ["row", "AP (%)", "min to max", "seeds", "paper", "minutes"],
        ["beta 0", "14.0", "10.0 to 19.0", "3 of 3", "37.6", "3.0"],
        [r"a\|b \*c\* \`d\`", "20.0", "20.0 to 20.0", "3 of 3", "-", "1.0"],
    ]
    first = tabulate(ABLATION, WHOLE)[0]
    assert first.deviation == pytest.approx(21**0.5)  # (16 + 1 + 25) / 2
    assert first.by_seed == pytest.approx({0: 10, 1: 13, 5: 19})


def test_a_partial_table_says_what_is_missing():
    part = [WHOLE[0], WHOLE[1], WHOLE[3]]
    assert [row[1:4] for row in cells(ABLATION, part)[1:]] == [
        ["11.5", "10.0 to 13.0", "2 of 3"],
        ["20.0", "-", "1 of 3"],
    ]
    lines = tabulate(ABLATION, part)
    assert [line.missing_seeds for line in lines] == [[5], [1, 5]]
    assert "missing, 3 of 6 runs: beta 0 seed 5" in "\n".join(markdown(ABLATION, lines))
    assert "missing" not in "\n".join(markdown(ABLATION, tabulate(ABLATION, WHOLE)))


def test_missing_and_not_available_are_told_apart():
    assert cells(ABLATION, [])[1][1:4] == ["-", "-", "0 of 3"]
    assert cells(ABLATION, [result(0, 0, None)])[1][1:4] == ["n/a", "-", "1 of 3"]
    # a mean is over the seeds that have a figure
    assert cells(ABLATION, [result(0, 0, None), result(0, 1, 0.3)])[1][1:4] == ["30.0", "-", "2 of 3"]


def test_another_metric_is_another_table_of_the_same_runs():
    assert cells(replace(ABLATION, metric="ap50"), WHOLE)[1][1] == "90.0"
    assert cells(replace(ABLATION, metric="ap_rare"), WHOLE)[0][1] == "AP rare (%)"


def test_markdown_shows_text_literally():
    assert escape("a\nb") == "a b"
    assert escape("<b> [x](y) _z_ \\ ~s~") == r"\<b\> \[x\](y) \_z\_ \\ \~s\~"


@pytest.mark.parametrize("results", [WHOLE, WHOLE[:2], []], ids=["whole", "part", "none"])
def test_the_three_files_are_written_for_any_part_of_the_runs(tmp_path, results):
    table = write_table(ABLATION, tmp_path, results)
    assert "\n".join(table) in (tmp_path / "ablation.md").read_text()
    content = json.loads((tmp_path / "ablation.json").read_text())
    assert (content["complete"], content["epochs"], content["rows"][0]["paper"]) == (len(results) == 6, 4, 37.6)
    without_paper = replace(ABLATION, rows={"a": Row()})
    assert "paper" not in markdown(without_paper, tabulate(without_paper, []))[0]
    save_plot(tmp_path / "ablation.png", without_paper, tabulate(without_paper, results))
    assert cv2.imread(str(tmp_path / "ablation.png")).shape[1] > 500
