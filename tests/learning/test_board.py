import sys

import pytest

from carbonmap.errors import ModelError
from carbonmap.learning.board import board, scalars

STEPPED = {"step": 10, "losses": {"a": 0.5, "b": 2.0}, "learning_rate": 0.001, "skipped": 0}


def test_every_figure_of_a_line_is_a_scalar_but_its_step():
    assert scalars(STEPPED) == {
        "losses/a": 0.5, "losses/b": 2.0, "learning_rate": 0.001, "skipped": 0.0,
    }  # fmt: skip


def test_nothing_is_imported_where_nobody_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with board(None, 0) as write:
        assert write is None


def test_a_missing_tensorboard_is_told_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    said = pytest.raises(ModelError, match=r"pip install 'carbonmap\[tensorboard\]'")
    with said, board(tmp_path / "b", 0):
        pass
    assert not (tmp_path / "b").exists()


def test_a_resumed_run_replaces_the_steps_that_come_again(tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra `tensorboard` is not installed",
    )
    for done, steps, loss in ((0, (10, 20, 30), 1.0), (10, (20, 30), 2.0)):
        with board(tmp_path, done) as write:
            for step in steps:
                write(STEPPED | {"step": step, "losses": {"a": loss}})
    found = events.EventAccumulator(str(tmp_path)).Reload()
    told = [(event.step, event.value) for event in found.Scalars("losses/a")]
    assert told == [(10, 1.0), (20, 2.0), (30, 2.0)]
