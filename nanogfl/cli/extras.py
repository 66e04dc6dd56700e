"""Whether an extra's packages are installed: one sentence instead of a traceback."""

from importlib.util import find_spec

from nanogfl.contract.errors import missing_extra


def require(extra: str, *packages: str) -> None:
    """Raises UserError that names the pip command for the first package that is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(package, extra)
