"""Every finding of the data check: its severity and key, what is counted, and below what to do about it."""

from nanogfl.data.lint.finding import SEVERITIES, Kind, Severity

_TABLE = """
error missing-images: images are missing
    copy them there, or remove the entries
error corner-boxes: files whose boxes are probably corners
    write each box as x y width height
warning bad-boxes: boxes that are not four numbers
    left out: annotate them again
warning empty-boxes: boxes without width or height
    left out: remove or redraw them
warning boxes-outside: boxes outside their image
    left out: is it the right image, of the right size?
note clipped-boxes: boxes that reach outside their image
    clipped; if there are many of them, is the size right?
note rotated-boxes: rotated boxes
    nothing to do: the upright box around each is taken
note sizes-from-files: images whose size the annotations do not state
    nothing to do: it is read from the files
note mended-names: images found under another name
    taken; nanogfl data convert writes the names

warning duplicate-boxes: boxes drawn twice
    remove one of each pair: nothing detects the second, which costs AP
warning contrary-boxes: boxes with two classes
    remove the wrong one: an object has one class, unless both names are meant to be true
warning mostly-crowds: classes whose boxes are mostly crowd regions, which are ignored
    neither learned nor measured: tools for masks write iscrowd 1 for single objects, too; set it to 0 (in VOC
    difficult) where a box is one object
note crowd-regions: crowd regions (iscrowd 1, in VOC difficult), which are ignored
    nothing to do where each is a region of many objects: they are neither objects nor background
error val-without-objects: validation images, none of which has an object
    without objects there is no AP, by which the best weights are chosen: annotate these images, or move some with
    objects here
note empty-images: images without objects
    allowed, they teach what background is; look whether they are empty indeed

error classes-differ: classes differ between train and val
    give both files the same classes, letter by letter: training refuses these
note class-ids-differ: class ids differ between train and val
    nothing to do: classes are matched by name; other tools may read them by id
warning classes-only-in-val: classes only in val
    their boxes are left out of the evaluation: add the classes to train's categories, or remove them
warning unused-classes: classes without a box in train
    nothing can be learned for them: annotate some, or remove them from the categories
note classes-not-in-val: classes without a box in val
    their AP is n/a and the mean leaves them out: move images with them to val if they matter
warning misspelt-classes: classes whose names differ in case or spaces alone
    if they mean the same, give one name and one id to both: as two classes they compete

error unreadable-images: images cannot be read
    replace or remove the files
warning little-range: 16-bit images of little range
    nearly black or of few grey levels to the network: stretch all images to 8 bits once, in one and the same way,
    those of the device, too
note transparent-images: images with transparent pixels
    transparency is not read, the colours behind it are: save them on the background that is meant
warning first-of-several: files with several pages or frames
    only the first is read: save each as an image of its own, or remove the others
error val-in-train: val images that train holds to the pixel
    the AP counts what was learned by heart: remove them from one of the two
warning near-duplicates: val images that are nearly a train image
    the AP will be too good: keep copies, bursts and frames of one video in one split
warning split-versions: val images of which train has another version
    the AP will be too good: keep augmented copies of one photograph in one split
warning split-scenes: val images next to train images of one scene
    the AP will be too good: keep bursts and frames of one video in one split
warning copied-images: images that their split holds already
    remove one of each pair: are they annotated alike?

error other-size: images of another size than annotated
    training leaves them out: was the file replaced or resized? correct it, or width, height and the boxes
error exif-as-stored: turned images annotated as stored
    they are read turned, as EXIF says, and left out: their boxes fit the picture as stored only, so remove the
    orientation from the files
error exif-size-swapped: turned images whose width and height are swapped in the annotations
    they are read turned, as EXIF says, and left out: their boxes fit the turned picture only, so swap the width and
    height of these images in the annotations
error exif-size-unclear: turned images whose annotations state the size as stored
    they are read turned, as EXIF says, and left out; no box tells on which picture it was drawn, so look: where they
    fit, swap width and height in the annotations; where not, remove the orientation from the files
warning exif-unclear: images turned by EXIF, which their size does not show
    they are read turned: look whether the boxes fit; if not, remove the orientation from the files
warning exif-unstated: images turned by EXIF, whose annotations state no size
    they are read turned, and it cannot be told whether the boxes were drawn so: look at these pictures; where the
    boxes do not fit, the tool ignored EXIF: remove the orientation from the files
note exif-turned: turned images annotated upright
    nothing to do: they are read turned, as EXIF says, and their size fits; another program may not turn them
"""


def _read(table: str) -> dict[str, Kind]:
    severities: dict[str, Severity] = {severity: severity for severity in SEVERITIES}
    kinds: dict[str, Kind] = {}
    key = ""
    for line in filter(None, table.splitlines()):
        if line.startswith(" "):
            kinds[key] = kinds[key]._replace(advice=f"{kinds[key].advice} {line.strip()}".strip())
        else:
            head, _, what = line.partition(": ")
            severity, key = head.split()
            kinds[key] = Kind(severities[severity], key, what, "")
    return kinds


KINDS = _read(_TABLE)
"""by key"""
