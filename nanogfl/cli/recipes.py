"""`nanogfl models`: the recipes, their cost and their published AP."""

from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command(short_help="List the recipes, their cost and published AP.")
@click.option(
    "--configs", type=click.Path(path_type=Path), help="Folder of recipes.  [default: those that come with nanogfl]"
)
@click.option(
    "--classes", type=click.IntRange(1), default=80, show_default=True, help="Number of classes to count with."
)
def models(configs: Path | None, classes: int) -> None:
    """List the recipes: input, parameters and multiply-accumulates (counted on the network), published AP.

    The shipped recipes are found by name from any folder: as listed below configs/, or by the last part without .yaml.

    \b
    nanogfl models
    nanogfl train configs/nanodet/nanodet-plus-m_416.yaml
    nanogfl models --configs my/recipes --classes 3
    """
    from nanogfl.errors import UserError, require

    require("train", "torch", "pydantic", "yaml")
    from nanogfl.model.summary import summarise_recipes
    from nanogfl.recipe import shipped_recipes

    folder = configs or shipped_recipes()
    if not folder.is_dir():
        raise UserError(f"--configs {folder} is not a folder: expected one with recipes (.yaml)")
    found = summarise_recipes(folder, classes)
    width = max(len(recipe.name) for recipe in found)
    say(f"{'recipe':<{width}}  {'input':>10}  {'resize':<9}  {'parameters':>10}  {'GMACs':>7}  {'AP':>5}  published")
    for recipe in found:
        height_width = "{} x {}".format(*recipe.model.input.hw)
        ap = "-" if recipe.about.published_ap is None else f"{recipe.about.published_ap:.1f}"
        say(
            f"{recipe.name:<{width}}  {height_width:>10}  {recipe.model.input.resize:<9}  {recipe.size.parameters:>10,}"
            f"  {recipe.size.macs / 1e9:>7.3f}  {ap:>5}  {recipe.about.source}".rstrip()
        )
    say(f"below {folder}; input is height x width; counted with {classes} classes; AP in percent, as published")
