"""The table: mean and range by hand, what is missing, Markdown that shows names as they are."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from nanogfl.ablate.plot import save_plot
from nanogfl.ablate.result import Result
from nanogfl.ablate.spec import Ablation, Row
from nanogfl.ablate.table import escape, format_table, markdown, tabulate, to_dict

ABLATION = Ablation(
    title="exponents",
    base=Path("recipe.yaml"),
    common=(),
    rows=(Row("beta 0", ("loss.beta=0",), 37.6), Row("a|b *c* `d`", ("loss.beta=1",), None)),
    seeds=(0, 1, 5),
    epochs=4,
    steps=None,
    metric="ap",
    paper_title="GFL",
    paper_source="table 1c",
)


def result(row: int, seed: int, ap: float | None, seconds: float = 60.0) -> Result:
    return Result(ABLATION.rows[row].name, seed, "", {"ap": ap, "ap50": 0.9}, 4, seconds, {})


WHOLE = [
    *(result(0, seed, ap, minutes * 60) for seed, ap, minutes in ((0, 0.10, 1), (1, 0.13, 2), (5, 0.19, 6))),
    *(result(1, seed, ap) for seed, ap in ((0, 0.2), (1, 0.2), (5, 0.2))),
]


def rows_of(table: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:4]]


def test_mean_and_range_over_seeds_stand_beside_the_papers_figure():
    assert rows_of(format_table(ABLATION, tabulate(ABLATION, WHOLE))) == [
        ["row", "AP (%)", "min to max", "seeds", "paper", "minutes"],
        ["beta 0", "14.0", "10.0 to 19.0", "3 of 3", "37.6", "3.0"],
        ["a|b *c* `d`", "20.0", "20.0 to 20.0", "3 of 3", "-", "1.0"],
    ]


def test_the_json_holds_every_seed_and_the_samples_deviation():
    content = to_dict(ABLATION, tabulate(ABLATION, WHOLE))
    first = content["rows"][0]
    assert (first["mean"], first["deviation"]) == (pytest.approx(14), pytest.approx(21**0.5))  # (16 + 1 + 25) / 2
    assert first["spread"] == pytest.approx((10, 19))
    assert first["by_seed"] == pytest.approx({"0": 10, "1": 13, "5": 19})
    assert content["complete"] is True
    assert first["paper"] == 37.6


def test_a_partial_table_says_what_is_missing():
    lines = tabulate(ABLATION, [WHOLE[0], WHOLE[1], WHOLE[3]])
    shown = format_table(ABLATION, lines)
    assert rows_of(shown)[1:] == [
        ["beta 0", "11.5", "10.0 to 13.0", "2 of 3", "37.6", "1.5"],
        ["a|b *c* `d`", "20.0", "-", "1 of 3", "-", "1.0"],
    ]
    assert "missing, 3 of 6 runs: beta 0 seed 5, a|b *c* `d` seed 1, a|b *c* `d` seed 5" in shown
    content = to_dict(ABLATION, lines)
    assert content["complete"] is False
    assert [row["missing_seeds"] for row in content["rows"]] == [[5], [1, 5]]
    assert "missing" not in format_table(ABLATION, tabulate(ABLATION, WHOLE))


def test_nothing_yet_and_not_available_are_told_apart():
    assert rows_of(format_table(ABLATION, tabulate(ABLATION, [])))[1][1:4] == ["-", "-", "0 of 3"]
    lines = tabulate(ABLATION, [result(0, 0, None)])
    assert rows_of(format_table(ABLATION, lines))[1][1:4] == ["n/a", "-", "1 of 3"]
    # a mean is over the seeds that have a figure
    lines = tabulate(ABLATION, [result(0, 0, None), result(0, 1, 0.3)])
    assert lines[0].mean == pytest.approx(30)


def test_another_metric_is_another_table_of_the_same_runs():
    other = replace(ABLATION, metric="ap50")
    table = rows_of(format_table(other, tabulate(other, WHOLE)))
    assert table[0][1] == "AP50 (%)"
    assert table[1][1] == "90.0"
    rare = replace(ABLATION, metric="ap_rare")
    assert rows_of(format_table(rare, tabulate(rare, WHOLE)))[0][1] == "AP rare (%)"


def test_without_a_papers_figure_there_is_no_column_for_one():
    ours = replace(ABLATION, rows=(ABLATION.rows[1],))
    shown = format_table(ours, tabulate(ours, WHOLE))
    assert "paper" not in shown


def test_markdown_escapes_what_would_be_markup():
    page = markdown(ABLATION, tabulate(ABLATION, WHOLE), "ablation.png")
    row = next(line for line in page.splitlines() if "20.0" in line)
    assert row.startswith(r"| a\|b \*c\* \`d\` |")
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in page.splitlines() if line.startswith("|")]
    assert len(set(cells)) == 1  # as many bars in every row
    assert "](ablation.png)" in page
    assert escape("a\nb") == "a b"
    assert escape("<b> [x](y) _z_ \\ ~s~") == r"\<b\> \[x\](y) \_z\_ \\ \~s\~"


@pytest.mark.parametrize("results", [WHOLE, WHOLE[:2], []], ids=["whole", "part", "none"])
def test_the_picture_is_written_for_any_part_of_the_runs(tmp_path, results):
    for ablation in (ABLATION, replace(ABLATION, rows=ABLATION.rows[1:])):
        save_plot(tmp_path / "p.png", ablation, tabulate(ablation, results))
        assert cv2.imread(str(tmp_path / "p.png")).shape[1] > 500
