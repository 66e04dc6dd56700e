"""Writes lvis_federated.json: small federated cases with the answers of the LVIS API, the reference.

python -m tests.golden.make_lvis [FILE COUNT]

Run from the repository's folder in an environment with the packages lvis (0.5.3), pycocotools and numpy; the tests that
read the file need none but pycocotools. With FILE and COUNT it writes that many cases there.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
from lvis import LVIS, LVISEval, LVISResults

from tests.evaluation.lvis_cases import Case, draw_case

GOLDEN = Path(__file__).parent / "lvis_federated.json"
SEEDS = (0, 1, 2, 3, 4, 5, 8, 9)  # 0 has an image with more than 300 detections, 0 3 9 have many equal scores
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")

np.float = float  # the API's name for it, which numpy no longer has


def answer(case: Case) -> dict[str, float]:
    """The reference's nine figures; -1 where there is nothing to measure."""
    truth = LVIS.__new__(LVIS)  # its constructor reads a file
    truth.logger = logging.getLogger("lvis")
    truth.dataset = json.loads(json.dumps(case["truth"]))
    truth._create_index()
    evaluation = LVISEval(truth, LVISResults(truth, json.loads(json.dumps(case["results"]))), "bbox")
    evaluation.run()
    return {name: float(evaluation.results[name]) for name in NAMES}


def main() -> None:
    logging.disable(logging.WARNING)
    file, seeds = GOLDEN, list(SEEDS)
    if len(sys.argv) == 3:
        file, seeds = Path(sys.argv[1]), list(range(int(sys.argv[2])))
    cases = [case for seed in seeds if (case := draw_case(seed))["results"]]  # the reference needs a detection
    lines = [json.dumps({**case, "answer": answer(case)}, separators=(",", ":")) for case in cases]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{file}: {len(cases)} cases, {file.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
