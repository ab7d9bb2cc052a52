"""How long maps take: what a model computes is counted where a clock would tell."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from torch import nn

from carbonmap import fields
from carbonmap.grid import Grid
from carbonmap.models import neural
from carbonmap.models.neural import Neural
from carbonmap.models.protocol import Windowed
from carbonmap.models.windows import PERIOD_PX, cells, windows
from carbonmap.normalise import Inputs, Normalisation
from carbonmap.stages import timing

INPUTS = Inputs(("image", "terrain"))
NORM = Normalisation((50.0,) * (len(INPUTS.channels) - 1), (30.0,) * (len(INPUTS.channels) - 1))
GRID = Grid("EPSG:32612", 10.0, 37, 113, 600, 700)
PART = GRID[200:456, 300:556]


@dataclasses.dataclass(frozen=True)
class Counting:
    """A learner that notes every window that it computes."""

    network: nn.Module
    seen: list
    generative: bool = False
    parts: tuple = ()

    def draw(self, condition, _):
        self.seen.extend(condition[:, :1, 0, 0])
        return condition[:, :1].clamp(-1, 1)


class Mean:
    """A model without windows, which answers for each pixel that is known, and counts these."""

    layers, halo, pixel_m, scale = ("nir",), 2, 10.0, 100.0

    def __init__(self):
        self.known = 0

    def predict(self, layers, grid):
        self.known += int(np.isfinite(layers["nir"][2:-2, 2:-2]).sum())
        return np.zeros(grid.shape, np.float32)


def counting(tile_px):
    learner = Counting(nn.Conv2d(1, 1, 1), [])
    return Neural(learner, INPUTS, NORM, tile_px, 10.0, 200.0, threads=1), learner.seen


def land(grid=GRID, known=None):
    rows, cols = fields.places(grid)
    values = (100 + rows % 50 + cols % 50).astype(np.float32)
    values = np.where(True if known is None else known, values, np.nan)
    return xr.Dataset(dict.fromkeys(INPUTS.layers, (("y", "x"), values)))


def counted(monkeypatch, model, seen, stack=None, grid=GRID, part=PART):
    """Windows of a 256² tile, by a clock that counts them."""
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "clock", lambda _: lambda: len(seen))
    stack = land(grid) if stack is None else stack
    return timing.seconds({"it": model}, stack, grid, part, "cpu")["it"]


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("tile_px", [64, 128, 256])
def test_the_time_of_a_tile_is_that_of_its_share_of_the_cells(monkeypatch, tile_px, batch):
    model, seen = counting(tile_px)
    monkeypatch.setattr(neural, "_fixed", lambda *_: batch)
    found = counted(monkeypatch, model, seen)
    cell = PERIOD_PX / cells(tile_px)
    assert len(seen) % batch == 0
    assert found == pytest.approx((256 / cell) ** 2, rel=0.03)  # a cell is whole pixels


@pytest.mark.parametrize("tile_px", [64, 128, 256])
def test_cells_that_reach_beyond_the_region_or_into_unknown_land_count_no_less(
    monkeypatch, tile_px
):
    monkeypatch.setattr(neural, "_fixed", lambda *_: 16)
    model, seen = counting(tile_px)
    whole = counted(monkeypatch, model, seen)
    known = np.zeros(GRID.shape, bool)
    known[200:300, 300:556] = True
    assert counted(monkeypatch, model, seen, land(known=known)) == whole
    corner = PART[:150, :140]
    one = counted(monkeypatch, model, seen, land(corner), corner, corner)
    assert one == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("tile_px", [16, 64, 96, 128, 256, 512])
def test_on_a_cpu_the_cells_are_about_as_large_as_the_land_that_was_chosen(tile_px):
    model, _ = counting(tile_px)
    assert isinstance(model, Windowed)
    found = model.whole_cells(PART)
    assert found.intersection(PART[:1, :1]) == PART[:1, :1]
    (first, *_), cell = windows(PART, tile_px), PERIOD_PX / cells(tile_px)
    assert (first.cell.row, first.cell.col) == (found.row, found.col)
    for edge in found.shape:
        assert abs(edge - 256) <= max(cell / 2 + 1, cell - 256 + 1)
    parts = [w.cell for w in windows(found, tile_px)]
    assert {p.height for p in parts} | {p.width for p in parts} <= {int(cell), int(cell) + 1}


def test_a_model_without_windows_makes_the_map_of_the_land_that_was_chosen(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    model, ticks = Mean(), iter(range(9))
    monkeypatch.setattr(timing, "clock", lambda _: lambda: next(ticks))
    known = np.ones(GRID.shape, bool)
    known[:250] = False
    stack = land(known=known)
    found = timing.seconds({"it": model}, stack, GRID, PART[:128, :128], "cpu")
    assert found == {"it": 4.0}
    assert model.known == 128 * 128
