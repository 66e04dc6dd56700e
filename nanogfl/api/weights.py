"""`fetch_weights`: published detectors by name."""

from pathlib import Path

from nanogfl.errors import require


def fetch_weights(name: str, file: Path | str | None = None, *, verbose: bool = False) -> Path:
    """Gets published weights by their name, and keeps them as a checkpoint. Nothing is downloaded twice.

        detector = load(fetch_weights("nanodet-plus-m-416"))           # COCO's 80 classes
        train("finetune", overrides={"train.init_from": "nanodet-plus-m-416", "data.root": "datasets/mine"})

    Args:
        name: one of those that `nanogfl weights` lists.
        file: the published file where it is on this machine already; nothing is downloaded then.
        verbose: print what is done.

    Returns: the path of the checkpoint.

    Raises UserError for an unknown name, a download that fails or has another sha256 than before, a file that holds
    another network, and a cache folder that cannot be written to.
    """
    from nanogfl.training.start.published import require_published

    weights = require_published(name)
    require("train", "torch", "pydantic", "yaml", "rich", "pooch", "filelock")
    from nanogfl.api.tell import teller
    from nanogfl.training.start.named import get_named

    get_named(weights, teller(verbose), None if file is None else Path(file))
    return weights.path
