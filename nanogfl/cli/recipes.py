"""`nanogfl models`: the recipes with what they cost and reach."""

from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command(short_help="The recipes, what they cost and reach.")
@click.option(
    "--configs", type=click.Path(path_type=Path), help="Folder of recipes.  [default: those that come with nanogfl]"
)
@click.option("--classes", type=click.IntRange(1), default=80, show_default=True, help="Count with so many classes.")
def models(configs: Path | None, classes: int) -> None:
    """List the recipes: input, parameters and multiply-accumulates (counted on the network), published AP.

    Those that come with nanogfl are found by name from any folder: configs/NAME as listed, or its last part without
    .yaml.

    \b
    nanogfl models
    nanogfl train configs/nanodet/nanodet-plus-m_416.yaml
    nanogfl models --configs my/recipes --classes 3
    """
    from nanogfl.errors import UserError, require

    require("train", "torch", "pydantic", "yaml")
    from nanogfl.model.recipe_card import read_recipe_cards
    from nanogfl.recipe import shipped_recipes

    folder = configs or shipped_recipes()
    if not folder.is_dir():
        raise UserError(f"--configs {folder} is not a folder: expected one with recipes (.yaml)")
    cards = read_recipe_cards(folder, classes)
    width = max(len(card.name) for card in cards)
    say(f"{'recipe':<{width}}  {'input':>10}  {'resize':<9}  {'parameters':>10}  {'GMACs':>7}  {'AP':>5}  published")
    for card in cards:
        height_width = "{} x {}".format(*card.model.input.hw)
        ap = "-" if card.ap is None else f"{card.ap:.1f}"
        say(
            f"{card.name:<{width}}  {height_width:>10}  {card.model.input.resize:<9}  {card.size.parameters:>10,}"
            f"  {card.size.macs / 1e9:>7.3f}  {ap:>5}  {card.source}".rstrip()
        )
    say(f"below {folder}; input is height x width; counted with {classes} classes; AP in percent, as published")
