"""The type of options that are scores."""

from typing import Any

import click


class _Score(click.FloatRange):
    """0 to 1; nan, which no range excludes, is refused as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        score = float(super().convert(value, param, ctx))
        if score != score:
            self.fail(f"{value} is not in the range 0<=x<=1.", param, ctx)
        return score


SCORE = _Score(0, 1)
