"""`nanogfl import-nanodet`."""

from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command("import-nanodet", short_help="Turn a NanoDet .ckpt or .pth into a checkpoint.")
@click.argument("file", metavar="CKPT", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The checkpoint to write.")
@click.option(
    "--classes",
    "names_file",
    type=click.Path(path_type=Path),
    help="Class names, one per line.  [default: COCO's, where the file has 80 classes]",
)
@click.option(
    "--input",
    "input_hw",
    nargs=2,
    type=click.IntRange(min=1),
    metavar="H W",
    help="The network's input, which the file does not say.  [default: 320 320, NanoDet-Plus 416 416]",
)
def import_nanodet(file: Path, output: Path, names_file: Path | None, input_hw: tuple[int, int] | None) -> None:
    """Convert CKPT, weights of NanoDet-m (0.5x, 1.0x, 1.5x) or NanoDet-Plus-m (1.0x, 1.5x), to a checkpoint.

    Variant and number of classes are recognised by the shapes. Averaged weights are preferred. Every tensor is
    used, or listed with the reason why not. Nothing in the file is executed. Published files are fetched and imported
    by name: `nanogfl weights`.

    \b
    nanogfl import-nanodet nanodet-plus-m_416.ckpt -o nanodet-plus.pt
    nanogfl import-nanodet nanodet-plus-m_320.ckpt -o nanodet-plus-320.pt --input 320 320
    nanogfl import-nanodet mine.ckpt -o mine.pt --classes names.txt
    """
    from nanogfl.errors import require

    require("train", "torch", "pydantic", "yaml")
    from nanogfl.errors import UserError
    from nanogfl.model.checkpoint import save_checkpoint
    from nanogfl.model.nanodet.weights import read_nanodet
    from nanogfl.model.summary import count_complexity

    if output.exists() and file.exists() and output.samefile(file):
        raise UserError(f"--output {output} is the file to import: give another name")
    found = read_nanodet(file, input_hw)
    names, ids = _classes(file, found.class_count, names_file)
    checkpoint = found.checkpoint(file.name, names, ids)
    size = count_complexity(checkpoint.build())
    save_checkpoint(output, checkpoint)

    averaged = "the averaged weights" if found.averaged else "the weights"
    say(f"{found.variant}, {len(names)} classes: took {averaged}, {found.taken} tensors")
    for part in found.left_out:
        say(f"  left out: {part.group}, {part.tensors} tensor{'s' * (part.tensors != 1)}: {part.why}")
    height, width = found.model.input.hw
    say(f"input {height} x {width} (height x width), {found.model.input.resize}; {size}")
    say(f"wrote {output}")
    say(f"next: nanogfl export {output} --images FOLDER_OF_PHOTOS")


def _classes(file: Path, count: int, names_file: Path | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names from the file, else COCO's, and category ids. Raises UserError where their number does not fit."""
    from nanogfl.errors import UserError
    from nanogfl.io.read_file import read_lines
    from nanogfl.model.nanodet.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES

    if names_file is None:
        if count != len(COCO_CLASSES):
            raise UserError(
                f"{file} detects {count} class{'es' * (count != 1)}, not COCO's 80: give their names with"
                " --classes FILE, one per line"
            )
        return COCO_CLASSES, COCO_CATEGORY_IDS
    lines = read_lines(names_file, "--classes", advice="expected one name per line in UTF-8")
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise UserError(
            f"--classes {names_file} has {len(names)} names, but {file} detects {count}: give one per class"
        )
    if len(set(names)) != count:
        raise UserError(f"--classes {names_file} names a class twice: expected {count} different names, one per line")
    return names, tuple(range(1, count + 1))
