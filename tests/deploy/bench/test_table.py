"""The results of a bench for people, for scripts and in a card."""

import json
from dataclasses import replace
from datetime import date

import pytest

from nanogfl_deploy.bench import table as bench_table
from nanogfl_deploy.bench.card import bench_rows, card_figures
from nanogfl_deploy.bench.table import Report, as_json, table

from .figures import COLD, MACHINE, some_cost, some_report


def rows_of(text, title):
    """The cells of the lines below the one that holds `title`, up to an empty line."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if title in line) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.split() for line in lines[start:end]]


def test_one_line_per_model_and_number_of_threads():
    first, second, third = rows_of(table(some_report()), "p50")
    stages = "1.00 1.90 1.00 10.00 19.00 10.00 0.50 0.95 0.50 11.50 21.85 11.50"
    assert first == ["A", "1", *stages.split(), "87.0"]
    assert (second[:2], third[:2]) == (["A", "2"], ["B", "1"])


def test_several_models_are_compared_with_the_first_and_one_with_nothing():
    (row, *_) = rows_of(table(some_report()), "A = 1")
    assert row == ["B", "1", "1.84x", "(1.83-1.86)", "1.84x", "(1.83-1.86)"]
    assert "A = 1" not in table(some_report([some_cost()]))


def test_a_cold_start_names_what_must_not_be_loaded():
    text = table(some_report([some_cost()], {"a.onnx": {**COLD, "heavy": ["torch"]}}))
    row = "A 0.200 0.050 0.030 0.280 0.310 0.900 0.600 123.4 MB loads torch"
    assert rows_of(text, "cold start")[0] == row.split()
    assert "not known" in table(some_report([some_cost()], {"a.onnx": {**COLD, "peak_bytes": None}}))
    assert "cold start" not in table(some_report([some_cost()]))


@pytest.mark.parametrize(
    ("threads", "others", "said"), [(1, 0.9, False), (4, 0.05, False), (4, 0.9, True), (1, 3.6, True)]
)
def test_a_busy_machine_is_named_where_it_leaves_too_few_of_4_cores(threads, others, said):
    report = replace(some_report([some_cost(threads=threads)]), other_cores=others)
    assert (f"{others:.1f} of 4 cores" in table(report)) == said
    assert as_json(report)["other_cores"] == others


def test_no_line_is_wider_than_a_wide_terminal_or_ends_in_blanks():
    for line in table(replace(some_report(cold={"a.onnx": COLD}), other_cores=3.9)).splitlines():
        assert len(line) <= 120, line
        assert line == line.rstrip()


def test_json_has_the_keys_that_are_promised():
    content = json.loads(json.dumps(as_json(some_report(cold={"a.onnx": COLD}))))
    assert sorted(content) == ["cold", "costs", "frame", "machine", "other_cores", "rounds"]
    assert content["frame"] == {"name": "textured, generated", "height": 720, "width": 1280}
    assert content["rounds"] == 3
    assert content["cold"] == [{"model": "a.onnx", **COLD}]
    assert content["costs"][0]["run"] == {"p50": 10.0, "p95": pytest.approx(19.0), "min": 10.0, "rounds": 3}
    assert content["costs"][2]["speedup"]["total"]["p50"] == 1.84
    assert all(key in bench_table.__doc__ for cost in content["costs"] for key in cost)


def test_a_card_gets_its_own_models_results_and_no_path():
    costs = [some_cost("/home/me/b.onnx", run=5.0), some_cost("/home/me/a.onnx")]
    report = Report(MACHINE, (50, 70), "/home/me/photo.jpg", costs, {"/home/me/b.onnx": COLD})
    figures = card_figures(report, "/home/me/b.onnx", date(2026, 3, 4))
    assert "/home" not in json.dumps(figures)
    assert figures["frame"] == {"name": "photo.jpg", "height": 50, "width": 70}
    assert figures["threads"]["1"]["run"] == {"p50": 5.0, "p95": pytest.approx(9.5)}
    assert figures["cold"]["total"] == 0.28
    shown = dict(bench_rows(figures))
    assert "2026-03-04 on Some CPU (4 cores)" in shown["bench"]
    assert "6.50 ms" in shown["bench threads 1"]
    assert "model 5.00" in shown["bench threads 1"]
    assert "123 MB" in shown["bench cold"]


def test_a_card_without_results_has_no_rows_and_a_strange_one_no_traceback():
    assert bench_rows({}) == []
    assert [name for name, _ in bench_rows({"date": "2030-01-01"})] == ["bench"]
    figures = card_figures(some_report([some_cost()]), "a.onnx", date(2026, 3, 4))
    assert [name for name, _ in bench_rows(figures)] == ["bench", "bench threads 1"]
