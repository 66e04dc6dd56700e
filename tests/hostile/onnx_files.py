"""Exported models: files that are none, cards and graphs that lie."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx

from nanogfl.contract.card import METADATA_KEY
from tests.hostile.bad import MODEL, Bad, Content, endless, folder, link, pipe


def with_card(**changes: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = onnx.load_model(MODEL)
        content = json.loads(model.metadata_props[0].value)
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if name:
                content[section][name] = value
            else:
                content[key] = value
        _save(model, json.dumps(content), path)

    return write


def with_text(text: str) -> Callable[[Path], None]:
    return lambda path: _save(onnx.load_model(MODEL), text, path)


def _save(model: onnx.ModelProto, card: str, path: Path) -> None:
    assert model.metadata_props[0].key == METADATA_KEY
    model.metadata_props[0].value = card
    path.write_bytes(model.SerializeToString())


def with_graph(change: Callable[[onnx.GraphProto], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = onnx.load_model(MODEL)
        change(model.graph)
        path.write_bytes(model.SerializeToString())

    return write


def external(place: str) -> Callable[[Path], None]:
    """The first weight lies in another file."""

    def change(graph: onnx.GraphProto) -> None:
        tensor = graph.initializer[0]
        for part in ("raw_data", "float_data", "int64_data"):
            tensor.ClearField(part)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", place

    return with_graph(change)


def rewired(output: str, operator: str, shape: list[int], **attributes: object) -> Callable[[Path], None]:
    """`output` comes from one more node, and is declared as it was."""

    def change(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            node.output[:] = [f"{name}_before" if name == output else name for name in node.output]
            node.input[:] = [f"{name}_before" if name == output else name for name in node.input]
        graph.initializer.append(onnx.helper.make_tensor("liar", onnx.TensorProto.INT64, [len(shape)], shape))
        graph.node.append(onnx.helper.make_node(operator, [f"{output}_before", "liar"], [output], **attributes))

    return with_graph(change)


def labels_as_floats(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.output[:] = ["labels_before" if name == "labels" else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Cast", ["labels_before"], ["labels"], to=onnx.TensorProto.FLOAT))
    for output in graph.output:
        if output.name == "labels":
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def huge(graph: onnx.GraphProto) -> None:
    """A constant of 2^50 floats beside the rest."""
    graph.initializer.append(onnx.helper.make_tensor("size", onnx.TensorProto.INT64, [1], [1 << 50]))
    graph.node.append(onnx.helper.make_node("ConstantOfShape", ["size"], ["filled"]))
    graph.node.append(onnx.helper.make_node("ReduceSum", ["filled"], ["sum"], keepdims=0))
    for node in graph.node:
        if "boxes" in node.output:
            node.output[list(node.output).index("boxes")] = "boxes_before"
    graph.node.append(onnx.helper.make_node("Add", ["boxes_before", "sum"], ["boxes"]))


def info(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"onnx: {name}", "info model.onnx", sentence, {"model.onnx": content})


def card(name: str, sentence: str, **changes: object) -> Bad:
    return Bad(f"card: {name}", "info model.onnx", f"model.onnx: .*{sentence}", {"model.onnx": with_card(**changes)})


def detect(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"graph: {name}", "detect model.onnx photo.png --json out.json", sentence, {"model.onnx": content})


UNREADABLE = "the model card cannot be read"
DEEP = '{"a":' * 100_000

ONNX_FILES = [
    info("empty", b"", "is not an .onnx|has no graph|not ours"),
    info("a text", "I am a text", "is not an .onnx"),
    info("broken off", MODEL.read_bytes()[:700], "is not an .onnx"),
    info("a folder", folder, "does not exist or is no file"),
    info("a pipe", pipe, "does not exist or is no file"),
    info("a device", endless, "does not exist or is no file"),
    info("a circle of links", link("model.onnx"), "does not exist or is no file"),
    info("weights in another file of the machine", external("/etc/passwd"), "is not an .onnx that onnxruntime"),
    info("weights in a file above", external("../../../etc/passwd"), "is not an .onnx that onnxruntime"),
    info("weights in a file that is not there", external("weights.bin"), "is not an .onnx that onnxruntime"),
    info("a name that is no text", MODEL.read_bytes().replace(b"spread", b"spr\xffad"), "in UTF-8|is not an"),
    info("a card that is no text", MODEL.read_bytes().replace(b'{"classes"', b'\xff"classes"'), "is not text in UTF-8"),
    info("another program's", MODEL.read_bytes().replace(b"nanogfl", b"another"), "an .onnx that is not ours"),
    info("a card that is empty", with_text(""), UNREADABLE),
    info("a card that is deep", with_text(DEEP), UNREADABLE),
    info("a card that is a list", with_text("[]"), UNREADABLE),
    info("a card that is a number of 5000 digits", with_text("9" * 5000), UNREADABLE),
    info("a card of 9 MB", with_text('"' + "a" * 9_000_000 + '"'), "the model card has 9,000,002 characters"),
    card("another contract", "contract version 99", contract=99),
    card("no candidates end", "candidates <= 100,000 must hold", selection__candidates=10**9, selection__keep=10**9),
    card("a score of NaN", "score must lie in", selection__score=float("nan")),
    card("a score that is a text", UNREADABLE, selection__score="high"),
    card("an unknown choice", UNREADABLE, selection__soft=True),
    card("an input of 10^9", "at most 4096", input__hw=[10**9, 10**9]),
    card("an input of infinity", "hw must be a list of type int", input__hw=[float("inf"), 64]),
    card("an input of texts", "hw must be a list of type int", input__hw=["64", "96"]),
    card("an input of three sides", "hw must have 2 entries", input__hw=[64, 96, 3]),
    card("another input than the graph's", "expected one input 'image'", input__hw=[96, 64]),
    card("a mean of NaN", "mean and std must be finite", input__mean=[float("nan"), 0, 0]),
    card("a std of 0", "std must be positive", input__std=[0, 1, 1]),
    card("a mean of two", "mean must be three numbers", input__mean=[1, 2]),
    card("a resize that is none", "resize must be one of stretch, letterbox", input__resize="shrink"),
    card("a resize that is a list", "resize must be one of", input__resize=[1]),
    card("classes that are numbers", "classes must be a list of type str", classes=[1, 2, 3]),
    card("classes that are a text", "classes must be a list of type str", classes="abc"),
    card("no classes", "1 to 30,000 classes are expected, got 0", classes=[], category_ids=[]),
    card("classes without end", "got 30,001", classes=["a"] * 30_001, category_ids=[1] * 30_001),
    card("ids that are missing", "category_ids must have 3 entries, got 1", category_ids=[1]),
    card("a format that is none", "format must be one of detections, raw", format="boxes"),
    card("bins that are a text", "bins must be of type int", bins="4"),
    card("bins that are not delivered", "its card promises the outputs", bins=4),
    card("has_spread that is a text", "has_spread must be of type bool", has_spread="yes"),
    card("parity that is a list", "parity must be of type dict", parity=[1]),
    card("source that is null", "source must be of type dict", source=None),
    card("a colour that is a list", "colour must be of type str", colour=["BGR"]),
    card("an unknown key", UNREADABLE, threshold=1),
    detect("boxes of another shape", rewired("boxes", "Reshape", [1, 20, 2]), r"delivers boxes \(20, 2\)|loads, but"),
    detect("labels beyond the classes", rewired("labels", "Add", [1000]), "the label 10.. of 3 classes|delivers"),
    detect("labels that are no whole numbers", with_graph(labels_as_floats), r"outputs labels tensor\(float\) are not"),
    detect("an array without end", with_graph(huge), "loads, but cannot be run|is not an .onnx that"),
    detect("a deep card", with_text(DEEP), UNREADABLE),
    Bad("bench: no model", "bench model.onnx", "is not an .onnx", {"model.onnx": "text"}),
    Bad("bench: a pipe", "bench model.onnx", "does not exist or is no file", {"model.onnx": pipe}),
    Bad("bench: a deep card", "bench model.onnx --card", UNREADABLE, {"model.onnx": with_text(DEEP)}),
    Bad("explain: classes that are numbers", "explain model.onnx photo.png", "classes must be",
        {"model.onnx": with_card(classes=[1, 2, 3])}),
    Bad("eval: a card of NaN", "eval model.onnx --data data/val.json --images data/val", "must be finite",
        {"model.onnx": with_card(input__mean=[float("nan"), 0, 0])}),
]  # fmt: skip
