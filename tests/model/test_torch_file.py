"""A sound file on a machine without memory is not called damaged."""

import pytest
import torch

from nanogfl.errors import UserError
from nanogfl.model.torch_file import read_weights


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_said(tmp_path, monkeypatch, error):
    def fail(*_args, **_keys):
        raise error

    for size, refused in ((1_000_000, True), (10, False)):
        path = tmp_path / "weights.pt"
        torch.save({"w": torch.zeros(size)}, path)
        monkeypatch.setattr(torch, "load", fail)
        if refused:
            with pytest.raises(UserError, match="memory"):
                read_weights(path)
        else:
            assert read_weights(path) is None
