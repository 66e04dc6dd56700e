"""Every kind of network as it is traced, and rewritten: equal outputs, and the work that was to go is gone."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl_export import export
from nanogfl_export.rewrite.sequence import NETWORK_REWRITES, rewrite_network
from nanogfl_export.rewrite.view import GraphView, attributes

from .conftest import HW, lively_detector

# Each backbone, neck and activation, but not each with each: a trace takes seconds.
NETWORKS = [  # backbone, neck, channels of the neck, activation, batch
    ("0.5x", "ghost_pan", 16, "relu", 1),  # which test_export.py traces, too
    ("1.0x", "ghost_pan", 18, "leaky_relu", None),
    ("1.5x", "pan", 10, "leaky_relu", 2),
    pytest.param(("0.5x", "pan", 16, "leaky_relu", 1), marks=pytest.mark.exhaustive),
]


@pytest.fixture(scope="module", params=NETWORKS, ids=str)
def traced(request):
    backbone, neck, channels, activation, batch = request.param
    model = ModelConfig(
        InputSpec(HW),
        backbone=BackboneConfig(backbone),
        neck=NeckConfig(neck, channels, neck != "pan"),
        head=HeadConfig() if backbone == "0.5x" else HeadConfig(convs=1),
    )
    config = Config(model=replace(model, activation=activation))
    return export.trace_network(lively_detector(config, 3), batch), batch, channels


def logits(model, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["cls_logits", "box_pred"], {"image": images})


@pytest.mark.slow
def test_every_network_computes_the_same_with_less(traced):
    network, batch, neck_channels = traced
    rewritten = rewrite_network(network)
    onnx.checker.check_model(rewritten, full_check=True)
    for count in [batch] if batch else [1, 3]:
        images = np.stack([draw_image(5, index, HW).image for index in range(count)])
        for before, after in zip(logits(network, images), logits(rewritten, images), strict=True):
            assert np.ptp(before) > 1  # it has something to say
            # sums run in another order through 50 layers that amplify; a wrong weight is 1000 times as much
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-4 * np.abs(before).max())

    view = GraphView(rewritten)
    assert not any(len(view.shape(node.output[0])) == 5 for node in view.find("Transpose"))  # the shuffles
    assert not view.find("Gather")
    assert not view.find("BatchNormalization")
    assert not view.find("Div")
    kinds = [node.op_type for node in rewritten.graph.node]
    assert "Transpose" not in kinds[: kinds.index("Conv")]
    for pool in view.find("MaxPool"):
        assert view.producers[pool.input[0]].op_type != "LeakyRelu"
    reads = [view.shape(node.input[0])[1] for node in view.find("Conv") if attributes(node).get("group", 1) == 1]
    odd = {count for count in reads if count % 4}
    assert odd <= {1, neck_channels}  # the picture; the backbone's 58 and 29 are filled up


@pytest.mark.slow
def test_each_rewrite_alone_computes_the_same(traced):
    network, batch, _ = traced
    images = np.stack([draw_image(5, index, HW).image for index in range(batch or 2)])
    expected = logits(network, images)
    for rewrite in NETWORK_REWRITES:
        for before, after in zip(expected, logits(rewrite(network), images), strict=True):
            np.testing.assert_allclose(
                after, before, rtol=0, atol=1e-4 * np.abs(before).max(), err_msg=rewrite.__name__
            )
