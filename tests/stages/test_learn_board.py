"""`train --tensorboard`: the log's figures, and no part of the model."""

import json
import shutil
import sys

import pytest

from carbonmap.stages.learn.keep import LOG
from tests.conftest import SPLIT, Folder

UNET = [
    "train", *SPLIT, "--dates", "2020-11", "--model", "unet", "--steps", "20",
    "--set", "model.network.widths=[4,8]", "--set", "model.training.batch=2",
    "--set", "model.training.patch_px=32", "--set", "model.training.threads=1",
    "--set", "model.training.validate_every=10",
]  # fmt: skip


@pytest.fixture
def folder(labelled, tmp_path):
    shutil.copytree(labelled.path, tmp_path / "project")
    return Folder(tmp_path / "project")


def test_tensorboard_shows_what_the_log_tells_and_the_model_stays_the_same(folder, capsys):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra `tensorboard` is not installed",
    )
    folder.run(*UNET, "--tensorboard", "board", "-o", "models/a")
    log = [json.loads(x) for x in (folder.path / "models/a" / LOG).read_text().splitlines()]
    held = events.EventAccumulator(str(folder.path / "board")).Reload()
    losses = {line["step"]: line["losses"]["network"] for line in log if "losses" in line}
    assert {e.step: e.value for e in held.Scalars("losses/network")} == pytest.approx(losses)
    (judged,) = [line for line in log if "rmse_mg_c_ha" in line]
    for name in ("rmse_mg_c_ha", "bias_mg_c_ha"):
        (event,) = held.Scalars(name)
        assert (event.step, event.value) == (10, pytest.approx(judged[name]))
    rates = [line["learning_rate"] for line in log if "losses" in line]
    assert [e.value for e in held.Scalars("learning_rate")] == pytest.approx(rates)
    capsys.readouterr()
    folder.run(*UNET, "-o", "models/a")  # without it: the same model
    assert "up to date" in capsys.readouterr().out


def test_a_missing_tensorboard_stops_a_run_before_it_begins(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    folder.run(*UNET, "--tensorboard", "board", "-o", "models/a", code=1)
    assert "carbonmap[tensorboard]" in capsys.readouterr().err
    assert not (folder.path / "models" / "a").exists()


def test_a_regressor_has_no_log_to_show(folder, capsys):
    words = ["train", *SPLIT, "--dates", "2020-11", "--model", "ols", "--tensorboard", "board"]
    folder.run(*words, "-o", "models/a", code=1)
    assert "--tensorboard says nothing to ols" in capsys.readouterr().err
    assert not (folder.path / "models" / "a").exists()
