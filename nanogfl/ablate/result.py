"""What a finished run leaves behind, and whether it is the run that is asked for."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.recipe import config_from_dict, differences

RESULT = "result.json"


@dataclass(frozen=True)
class Result:
    row: str
    seed: int
    digest: str
    """of the resolved config"""
    figures: dict[str, float | None]
    """by metric: of the averaged weights after the last epoch, shares of 1; None: n/a"""
    epochs: int
    seconds: float
    """of training and evaluating, as the log adds them up over all resumptions"""
    config: dict[str, Any]


def digest(config: Config) -> str:
    """SHA-256 (64 hex digits) over every key of the config."""
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()


def write_result(folder: Path, result: Result) -> None:
    with atomic_path(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")


def read_result(folder: Path, config: Config) -> Result | None:
    """The run's result where it is finished. UserError where the folder's result is another config's, or is broken."""
    path = folder / RESULT
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend that, or start over with --fresh") from None
    except (ValueError, TypeError):
        raise UserError(f"{path} is no result of an ablation: remove it, or start over with --fresh") from None
    if result.digest != digest(config):
        # another version may know more keys: at their defaults they change nothing
        require_same(config_from_dict(result.config, str(path)), config, folder)
    return result


def require_same(before: Config, now: Config, folder: Path) -> None:
    changed = differences(before, now)
    if changed:
        raise UserError(
            f"{folder} was trained with another config or budget ({'; '.join(changed)}): go back to it, start over"
            " with --fresh, or give another --out"
        )
