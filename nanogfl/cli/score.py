"""A score as an option."""

from typing import Any

import click


class _Score(click.FloatRange):
    """0 to 1. nan, which is neither below nor above anything, is refused as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        score = float(super().convert(value, param, ctx))
        if score != score:
            self.fail(f"{value} is not in the range 0<=x<=1.", param, ctx)
        return score


SCORE = _Score(0, 1)
