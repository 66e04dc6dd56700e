"""The report of a data check: a table for a terminal, check.md with pictures, check.json for scripts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nanogfl.config import Config
from nanogfl.data.advice.advise import Advice, start_of
from nanogfl.data.advice.schedule import FROM
from nanogfl.data.lint.finding import SEVERITIES, Example, Finding, Severity, Split
from nanogfl.io.atomic import atomic_path

_SHOWN_CLASSES = 4
_SHOWN_EXAMPLES = 6
_LINE = 90


@dataclass(frozen=True)
class CheckReport:
    recipe: str
    config: Config
    train: Split
    val: Split
    findings: tuple[Finding, ...]
    """worst first"""
    reach: str
    """how far the head's bins reach, as a line"""
    images_read: bool
    """False: the annotations alone were checked"""
    advice: tuple[Advice, ...] = ()
    """what a training of this data set should use, as far as the recipe may choose"""

    def count(self, severity: Severity) -> int:
        """Number of findings of this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def facts(self) -> list[tuple[str, str]]:
        """What the data set is, as pairs of a name and a line."""
        spec = self.config.model.input
        lines = [(split.name, split.dataset.summary()) for split in (self.train, self.val)]
        named = [f"{name} {count}" for name, count in sorted(self.train.class_boxes, key=lambda pair: -pair[1])]
        if len(named) > 2 * _SHOWN_CLASSES:
            named = [*named[:_SHOWN_CLASSES], "...", *named[-_SHOWN_CLASSES:]]
        lines.append(("classes", ", ".join(named) + " boxes in train"))
        sides = self.train.index.object_sides(spec)
        if len(sides):
            few, half, many = np.percentile(np.sqrt(sides.prod(axis=1)), [5, 50, 95])
            sizes = f"{half:.0f} px the median object (root of its area), {few:.0f} to {many:.0f} px for 90 % of them"
            lines.append(("sizes", f"at {spec.hw[1]} x {spec.hw[0]}: {sizes}"))
        return [*lines, ("reach", self.reach)]

    def verdict(self) -> str:
        """1 error, 0 warnings, 2 notes."""
        counts = ", ".join(f"{self.count(kind)} {kind}{'s' * (self.count(kind) != 1)}" for kind in SEVERITIES)
        quick = "" if self.images_read else "; the image files were not opened (--quick)"
        return (counts if self.findings else "nothing was found") + quick

    def to_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "input_hw": list(self.config.model.input.hw),
            "images_read": self.images_read,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "reach": self.reach,
            "findings": [
                {
                    "severity": finding.severity,
                    "key": finding.key,
                    "what": finding.what,
                    "count": finding.count,
                    "advice": finding.advice,
                    "examples": [_example_dict(example) for example in finding.examples],
                }
                for finding in self.findings
            ],
            "advice": [advice._asdict() for advice in self.advice],
            "splits": {
                split.name: {
                    "annotations": split.dataset.name,
                    "images": len(split.dataset.images),
                    "boxes": dict(split.class_boxes),
                    "category_ids": list(split.dataset.category_ids),
                }
                for split in (self.train, self.val)
            },
        }


def format_table(report: CheckReport) -> list[tuple[Severity | None, str]]:
    """Lines for a terminal, those that name a finding with its severity: each error and warning with an example
    and what to do, all notes in one line, then the advice."""
    lines: list[tuple[Severity | None, str]] = [(None, f"{name:<8} {line}") for name, line in report.facts()]
    for finding in report.findings:
        if finding.severity == "note":
            continue
        lines.append((None, ""))
        lines.append((finding.severity, f"{finding.severity.upper():<7} {finding.count:>6}  {finding.what}"))
        lines.append((None, f"{'':<16}e.g. {_first_examples(finding)}"))
        lines.append((None, f"{'':<16}{finding.advice}"))
    if notes := [f"{finding.count} {finding.what}" for finding in report.findings if finding.severity == "note"]:
        lines += [(None, ""), ("note", f"{'NOTE':<8}no need to act: {'; '.join(notes)}")]
    if report.advice:
        lines += [(None, ""), (None, f"would train {FROM[start_of(report.config)]} with:")]
        width = max(len(advice.setting) for advice in report.advice)
        lines += [(None, f"  {advice.setting:<{width}}  {advice.reason}") for advice in report.advice]
    return [*lines, (None, ""), (None, report.verdict())]


def _first_examples(finding: Finding) -> str:
    """As many examples of the first one's split as a line holds."""
    first, *more = finding.examples
    line = str(first)
    for example in more:
        if example.split != first.split or len(line) + len(example.text) > _LINE:
            break
        line += f"; {example.text}"
    return line


def write_json(path: Path, report: CheckReport) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_markdown(path: Path, report: CheckReport, pictures: dict[str, str]) -> None:
    """`pictures`: file names beside `path`, by the finding's key."""
    lines = [f"# Data check of {report.recipe}", "", f"**{report.verdict()}**", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(line)} |" for name, line in report.facts()), ""]
    for finding in report.findings:
        lines += [f"## {finding.severity}: {finding.count} {finding.what}", "", finding.advice, ""]
        lines += [f"- {_cell(str(example))}" for example in finding.examples[:_SHOWN_EXAMPLES]]
        if finding.count > _SHOWN_EXAMPLES:
            lines.append("- ... more in check.json")
        lines.append("")
        if finding.key in pictures:
            lines += [f"![{finding.what}]({pictures[finding.key]})", ""]
    if report.advice:
        lines += ["## Would train with", "", "| setting | reason |", "|---|---|"]
        lines += [f"| `{advice.setting}` | {_cell(advice.reason)} |" for advice in report.advice]
        lines.append("")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _example_dict(example: Example) -> dict[str, Any]:
    entry: dict[str, Any] = {"split": example.split, "text": example.text}
    if example.image is not None:
        entry["file"] = str(example.image.path)
        entry["boxes"] = [[round(float(v), 2) for v in example.image.boxes[row]] for row in example.rows]
    if example.beside is not None:
        entry["beside"] = str(example.beside.path)
    return entry
