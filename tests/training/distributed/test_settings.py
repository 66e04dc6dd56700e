"""What processes of one training must be told alike, and the sentence where they were not."""

from dataclasses import replace

import pytest
import torch

from nanogfl.config import Config, TrainConfig
from nanogfl.errors import UserError
from nanogfl.training.distributed import meeting
from nanogfl.training.distributed.meeting import OWN_TO_A_MACHINE, require_same_settings, shared_settings

CPU = torch.device("cpu")


def told(config: Config | None = None, device: str = "cpu", resume: object = False) -> dict[str, str]:
    return shared_settings(config or Config(), torch.device(device), resume=resume)


def refused(*ranks: dict[str, str]) -> str:
    with pytest.raises(UserError) as raised:
        require_same_settings(ranks)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_belongs_to_a_machine_may_differ():
    config = Config()
    data = replace(config.data, root="/elsewhere", cache_dir="/cache", workers=7, memory_gb=99.0)
    train = replace(config.train, threads=3, init_from="/elsewhere/best.pt")
    require_same_settings([told(), told(replace(config, data=data, train=train))])


def test_every_other_key_is_compared():
    """Found by the names that a config's dict has, so that a new key is compared, too."""
    shared = told().keys() | set(OWN_TO_A_MACHINE)
    for group, values in Config().to_dict().items():
        for key, value in values.items():
            assert isinstance(value, dict) or f"{group}.{key}" in shared


@pytest.mark.parametrize(("key", "value"), [("lr", 0.125), ("seed", 5), ("epochs", 3), ("timeout_minutes", 2.0)])
def test_a_setting_of_one_rank_is_named_with_both_values(key, value):
    other = told(replace(Config(), train=replace(TrainConfig(), **{key: value})))
    message = refused(told(), told(), other)
    assert f"train.{key} is {value} on rank 2 and {getattr(TrainConfig(), key)} on rank 0" in message
    assert "rank 1" not in message


def test_many_differences_stay_one_short_sentence():
    train = replace(TrainConfig(), lr=0.1, seed=1, epochs=2, patience=3, momentum=0.5, ema_decay=0.5)
    message = refused(told(), told(replace(Config(), train=train)))
    assert "and 2 more" in message
    assert len(message) < 900


def test_resuming_device_and_version_are_compared(monkeypatch):
    assert "--resume is true on rank 1 and false" in refused(told(), told(resume=True))
    monkeypatch.setattr(meeting, "choose_precision", lambda *_: "fp32")
    assert 'train.device is "cuda" on rank 1 and "cpu"' in refused(told(), told(device="cuda"))
    here = told()
    monkeypatch.setattr(meeting, "__version__", "0.0.0")
    assert "version of nanogfl" in refused(here, told())


def test_what_auto_becomes_is_compared(monkeypatch):
    """An fp16 rank scales its gradient, another one does not: their mean would be nonsense."""
    before = told()
    monkeypatch.setattr(meeting, "choose_precision", lambda *_: "fp16")
    assert 'train.precision is "fp16" on rank 1 and ' in refused(before, told())
