"""A backbone's file: every tensor fits or one sentence says which does not; nothing in it is executed."""

from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from nanogfl.config import BackboneConfig
from nanogfl.errors import UserError
from nanogfl.model.backbones.resnet import ResNet
from nanogfl.model.backbones.shufflenetv2 import ShuffleNetV2
from nanogfl.training.start.backbone_weights import load_trunk, read_trunk
from tests.shared_data import shared


@pytest.fixture
def published(tmp_path):
    """A file as torchvision writes it: the trunk, conv5 and fc. -> (config, the trunk's tensors)."""
    torch.manual_seed(1)
    trunk = ShuffleNetV2(BackboneConfig("0.5x"), "relu").state_dict()
    for name, value in trunk.items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 2.0)
    classifier = {"conv5.0.weight": torch.zeros(8, 192, 1, 1), "fc.weight": torch.zeros(9, 8), "fc.bias": torch.ones(9)}
    torch.save({**trunk, **classifier}, tmp_path / "w.pth")
    return BackboneConfig("0.5x", str(tmp_path / "w.pth")), trunk


def rewrite(config, change):
    content = torch.load(config.weights, weights_only=True)
    change(content)
    torch.save(content, config.weights)


def refused(config) -> str:
    with pytest.raises(UserError) as raised:
        read_trunk(config)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_tensor_is_the_files_to_the_bit_and_the_classifier_is_ignored_and_named(published):
    config, expected = published
    backbone = ShuffleNetV2(config, "leaky_relu")
    trunk, lines = read_trunk(config)
    load_trunk(backbone, trunk)
    state = backbone.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    shown = "\n".join(lines)
    assert f"{len(expected)} tensors" in shown
    assert "conv5.0.weight, fc.weight, fc.bias" in shown
    assert "weights_order=rgb" in shown  # what torchvision's own files need


def test_rgb_weights_on_bgr_pictures_answer_as_on_rgb_pictures(published):
    config, expected = published
    theirs, ours = ShuffleNetV2(config, "relu").eval(), ShuffleNetV2(config, "relu").eval()
    theirs.load_state_dict(expected)
    load_trunk(ours, read_trunk(replace(config, weights_order="rgb"))[0])
    rgb = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours.conv1(rgb.flip(1)), theirs.conv1(rgb), rtol=1e-4, atol=1e-5)
        assert (ours.conv1(rgb) - theirs.conv1(rgb)).abs().max() > 0.05  # in fresh trunks later layers hardly differ
    for name, value in list(ours.state_dict().items())[1:]:
        assert torch.equal(value, expected[name])


def test_old_files_without_the_norms_counters_load(published):
    config, expected = published
    rewrite(config, lambda c: [c.pop(name) for name in list(c) if name.endswith("num_batches_tracked")])
    backbone = ShuffleNetV2(config, "relu")
    load_trunk(backbone, read_trunk(config)[0])
    assert torch.equal(backbone.stage4[3].branch2[6].running_var, expected["stage4.3.branch2.6.running_var"])


def test_another_width_is_one_clear_sentence(published):
    message = refused(replace(published[0], width="1.0x"))
    assert "holds a ShuffleNetV2 0.5x, but model.backbone.width is 1.0x: set it to 0.5x" in message


@pytest.fixture
def published_resnet(tmp_path):
    """As torchvision writes it: the trunk and fc. -> (config, the trunk's tensors)."""
    torch.manual_seed(1)
    trunk = ResNet(BackboneConfig(kind="resnet18"), "relu").state_dict()
    for name, value in trunk.items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 2.0)
    torch.save({**trunk, "fc.weight": torch.zeros(9, 512), "fc.bias": torch.ones(9)}, tmp_path / "r.pth")
    return BackboneConfig(kind="resnet18", weights=str(tmp_path / "r.pth"), weights_order="rgb"), trunk


def test_a_resnet_file_fits_and_answers_bgr_pictures_as_rgb_ones(published_resnet):
    config, expected = published_resnet
    theirs, ours = ResNet(config, "relu").eval(), ResNet(config, "relu").eval()
    theirs.load_state_dict(expected)
    trunk, lines = read_trunk(config)
    load_trunk(ours, trunk)
    assert f"{len(expected)} tensors" in lines[0]
    assert "fc.weight, fc.bias" in "\n".join(lines)
    rgb = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        for found, wanted in zip(ours(rgb.flip(1)), theirs(rgb), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        assert (ours.conv1(rgb) - theirs.conv1(rgb)).abs().max() > 0.05
    for name, value in ours.state_dict().items():
        assert torch.equal(value, expected[name]) == (name != "conv1.weight"), name


def test_a_file_of_another_backbone_is_one_clear_sentence(published, published_resnet):
    config, _ = published_resnet
    message = refused(replace(config, kind="resnet34"))
    assert "holds a ResNet-18, but model.backbone.kind is resnet34: set it to resnet18, or take a file of" in message
    message = refused(BackboneConfig(weights=config.weights))
    assert "holds a ResNet-18, but model.backbone.kind is shufflenetv2: set it to resnet18" in message
    message = refused(replace(config, weights=published[0].weights))
    assert "holds a ShuffleNetV2 0.5x, but model.backbone.kind is resnet18" in message
    rewrite(config, lambda c: c.pop("layer3.1.conv2.weight"))
    assert "does not fit ResNet-18 with torchvision's names: layer3.1.conv2.weight is missing" in refused(config)


def test_a_tensor_that_does_not_fit_is_named(published):
    config, _ = published
    rewrite(config, lambda c: c.pop("stage3.4.branch2.3.weight"))
    assert "stage3.4.branch2.3.weight is missing" in refused(config)
    rewrite(config, lambda c: c.update({"stage3.4.branch2.3.weight": torch.zeros(48, 1, 5, 5)}))
    assert "stage3.4.branch2.3.weight is (48, 1, 5, 5), expected (48, 1, 3, 3)" in refused(config)
    rewrite(config, lambda c: c.update({"stage5.bias": torch.zeros(1)}))
    message = refused(config)
    assert "(and 1 more)" in message
    rewrite(config, lambda c: c.pop("stage3.4.branch2.3.weight"))
    rewrite(config, lambda c: c.update({"stage3.4.branch2.3.weight": torch.zeros(48, 1, 3, 3)}))
    assert "stage5.bias has no place in it" in refused(config)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {}, [1], torch.zeros(2), {"a": 1}])
def test_a_file_of_something_else_is_one_sentence(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert "is not a plain state dict" in refused(BackboneConfig(weights=str(tmp_path / "other.pth")))
    (tmp_path / "text.pth").write_text("hello")
    assert "is not a plain state dict" in refused(BackboneConfig(weights=str(tmp_path / "text.pth")))


def test_reading_draws_no_random_numbers(published):
    before = torch.get_rng_state()
    read_trunk(published[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("width", "file"), [("1.0x", "shufflenetv2_x1.0_trunk_coco.pth"), ("0.5x", "shufflenetv2_x0.5_trunk.pth")]
)
def test_the_real_files_load_whole(width, file):
    path = shared(f"weights/{file}")
    config = BackboneConfig(width, str(path))
    backbone = ShuffleNetV2(config, "relu")
    trunk, lines = read_trunk(config)
    load_trunk(backbone, trunk)
    expected = torch.load(path, weights_only=True)
    assert len(lines) == 1
    assert f"{len(expected)} tensors" in lines[0]
    assert backbone.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.state_dict().items())


def test_a_download_that_is_no_weights_is_not_kept(published, tmp_path, monkeypatch):
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    config, expected = published
    good, source = Path(config.weights), tmp_path / "from" / "w.pth"
    source.parent.mkdir()
    source.write_bytes(b"no weights")
    handler = partial(SimpleHTTPRequestHandler, directory=str(source.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        config = replace(config, weights=f"http://127.0.0.1:{server.server_port}/w.pth")
        assert "not kept" in refused(config)
        source.write_bytes(good.read_bytes())
        assert read_trunk(config)[0].keys() == expected.keys()
        server.shutdown()
    (cached,) = (tmp_path / "cache/weights").iterdir()
    cached.write_bytes(b"put there by an older version")
    assert f"remove {cached}" in refused(config)
    assert cached.exists()
