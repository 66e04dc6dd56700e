"""Corruptions of an export, and which of them the export's gate refuses.

python benchmarks/sabotage.py [--formats first|all] [--only WORDS]

Each is one thing wrong in the graph, the card or the device code of a tiny detector's export, while PyTorch and the
gate stay right; the table is that of tests/export/sabotage. Verdicts: refused (one sentence, and no file is left),
passed, or the type of an error that is no sentence. What lies within the gate's tolerance passes rightly and is listed
last. The last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests are no package of the installation

from tests.export.sabotage.attempt import Corruption, Workshop
from tests.export.sabotage.table import CORRUPTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", choices=("first", "all"), default="first", help="of those each applies to")
    parser.add_argument("--only", default="", help="those whose name has these words")
    arguments = parser.parse_args()

    chosen = [corruption for corruption in CORRUPTIONS if arguments.only in corruption.name]
    cases = [
        (corruption, name)
        for corruption in sorted(chosen, key=lambda corruption: bool(corruption.reported))
        for name in (corruption.formats if arguments.formats == "all" else corruption.formats[:1])
    ]
    results: dict[str, str] = {}
    counts: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        print(f"{'corruption':58} {'kind':7} {'format':14} {'verdict':9} reason")
        for corruption, name in cases:
            verdict, reason = attempt(workshop, corruption, name)
            results[f"{corruption.name} | {name}"] = verdict
            counts[f"{corruption.reported}: {verdict}" if corruption.reported else verdict] += 1
            remark = f"({corruption.reported}) " if corruption.reported else ""
            print(f"{corruption.name:58} {corruption.kind:7} {name:14} {verdict:9} {remark}{reason[:90]}", flush=True)
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"counts": counts, "seconds": seconds, "results": results}))


def attempt(workshop: Workshop, corruption: Corruption, format_name: str) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        outcome = workshop.attempt(corruption, Path(folder) / "wrong.onnx", format_name)
    left = f" left: {', '.join(outcome.left)}" if outcome.refused and outcome.left else ""
    return outcome.verdict, outcome.reason + left


if __name__ == "__main__":
    main()
