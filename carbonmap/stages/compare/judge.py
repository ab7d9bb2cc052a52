"""One model on held-out land: all the sums that a comparison's figures are made of."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from carbonmap import fields, progress
from carbonmap.classes import Classes, class_errors
from carbonmap.ensembles import Scores, scores
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.metrics import SSIM_RADIUS
from carbonmap.models.protocol import Model
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.comparison import Judged, judged
from carbonmap.stages.sampler import Sampler
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bands, Bool, Floats, Ints, Raster

MEAN_OF = 8
"""Draws whose mean stands beside one draw: a perfect sampler's has 1.06 times the true mean's
RMSE."""

BLOCK_M = 1000.0
"""Edge of the blocks by which errors of the figures are told: wider than most stands, within which
a model's errors are alike, and small enough that a county's held-out land has dozens."""

KEPT_PX = 300_000
"""Held-out pixels that are kept at most, by which intervals are found and judged: 10 MB."""

CORE = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * 2
"""A tile without the margin that similarity looks at."""


@dataclass(frozen=True)
class Ground:
    """The land on which models are judged.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        scale: Mg C/ha that count as 1.
        split_m: edge of the split's blocks, m.
    """

    sampler: Sampler
    stacks: Sequence[xr.Dataset]
    scale: float
    split_m: float

    def parts(self, model: Model) -> Iterator[tuple[Grid, Bands, Raster]]:
        """Tiles with held-out land: padded grid, layers, and truth, NaN where not held out."""
        grid = self.sampler.grid
        todo = list(tiles(grid, TILE_PX))
        for tile in progress.track(todo, "judging", len(todo)):
            wide = tile.grid.padded(SSIM_RADIUS)
            usable, density = self.sampler.candidates(
                Tile(tile.name, tile.roi, wide), Role.VALIDATION
            )
            if usable[CORE].any():
                truth = np.where(usable, density, np.nan).astype(np.float32)
                for stack in self.stacks:
                    yield (
                        wide,
                        scope.read_layers(stack, grid, wide, model.layers, model.halo),
                        truth,
                    )

    def blocks(self, part: Grid, edge_m: float) -> tuple[Ints, Ints]:
        """Lattice rows and columns of blocks, at every pixel of a part."""
        edge = max(1, round(edge_m / part.pixel_m))
        rows, cols = fields.places(part)
        return np.broadcast_arrays(rows // edge, cols // edge)  # type: ignore[return-value]


@dataclass(frozen=True)
class Pixels:
    """Held-out pixels one by one, at most about `KEPT_PX`, chosen by lots of their places.

    Args:
        table: lot, row and column of the block, half of the split, mean and standard deviation of
            the draws, and truth, ``(pixel, 7)``.
    """

    table: Floats = field(default_factory=lambda: np.empty((0, 7)))

    def __add__(self, other: Pixels) -> Pixels:
        joined = np.concatenate([self.table, other.table])
        return Pixels(joined[np.argsort(joined[:, 0], kind="stable")[:KEPT_PX]])

    @property
    def blocks(self) -> Ints:
        """Number of each pixel's block, from 0."""
        _, number = np.unique(self.table[:, 1:3], axis=0, return_inverse=True)
        return np.asarray(number.reshape(-1), np.int64)

    @property
    def halves(self) -> Bool:
        """Which of two halves each pixel's block of the split belongs to, in turn."""
        _, number = np.unique(self.table[:, 3], return_inverse=True)
        return np.asarray(number.reshape(-1) % 2 == 1)


@dataclass(frozen=True)
class Verdict:
    """What a model's maps are worth on held-out land; those of two tiles add.

    Args:
        one: of one map: a regression's, or a generative model's first draw.
        mean: of the mean of `MEAN_OF` draws; of the one map where there is but one.
        whole: of all draws.
        classes: errors of that mean by density of the truth.
        pixels: single ones.
        seconds: CPU time of the maps.
    """

    one: Judged = field(default_factory=Judged)
    mean: Judged = field(default_factory=Judged)
    whole: Scores = field(default_factory=Scores)
    classes: Classes | None = None
    pixels: Pixels = field(default_factory=Pixels)
    seconds: float = 0.0

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.one + other.one,
            self.mean + other.mean,
            self.whole + other.whole,
            self.classes + other.classes if self.classes and other.classes else other.classes,
            self.pixels + other.pixels,
            self.seconds + other.seconds,
        )


def judge(model: Model, ground: Ground, draws: int) -> Verdict:
    """Judge a model on all held-out land; memory is a tile's draws.

    Args:
        model: of a generative one, `draws` maps are drawn.
        ground: where.
        draws: at least `MEAN_OF`.

    Raises:
        ModelError: too few draws, or no held-out pixel.
    """
    if draws < MEAN_OF:
        raise ModelError(f"{draws} draws are too few: a mean of {MEAN_OF} is to be judged")
    total = Verdict()
    for wide, layers, truth in ground.parts(model):
        began = time.process_time()
        maps = _maps(model, layers, wide, draws, np.isfinite(truth))
        total += _verdict(maps, truth, wide, ground, time.process_time() - began)
    if not total.mean.errors.count:
        raise ModelError("no held-out pixel has all layers, so there is nothing to compare on")
    return total


def _maps(model: Model, layers: Bands, grid: Grid, draws: int, wanted: Bool) -> Floats:
    """Maps of a tile, ``(draw, row, col)``, of the wanted pixels at least."""
    if getattr(model, "generative", False):
        return np.asarray(model.draws(layers, grid, draws, wanted))  # type: ignore[attr-defined]
    return model.predict(layers, grid)[None]


def _verdict(maps: Floats, truth: Raster, wide: Grid, ground: Ground, seconds: float) -> Verdict:
    maps = np.where(np.isfinite(truth), maps, np.float32(np.nan))
    mean = maps[:MEAN_OF].mean(0)
    return Verdict(
        judged(maps[0], truth, ground.scale),
        judged(mean, truth, ground.scale),
        scores(maps[:, *CORE], truth[CORE]),
        class_errors(mean[CORE], truth[CORE]),
        _pixels(maps[:, *CORE], truth[CORE], wide.padded(-SSIM_RADIUS), ground),
        seconds,
    )


def _pixels(maps: Floats, truth: Raster, part: Grid, ground: Ground) -> Pixels:
    mean = maps.mean(0, dtype=np.float64)
    spread = maps.std(0, ddof=1) if len(maps) > 1 else np.zeros(truth.shape)
    known = np.isfinite(truth) & np.isfinite(mean)
    lots = fields.uniform(*fields.places(part), fields.field_key(0, "kept"))
    row, col = ground.blocks(part, BLOCK_M)
    half = _paired(*ground.blocks(part, ground.split_m))
    columns = (lots, row, col, half, mean, spread, truth)
    return Pixels(np.column_stack([c[known].astype(np.float64) for c in columns]))


def _paired(rows: Ints, cols: Ints) -> Ints:
    """Two whole numbers as one, exact in a double for regions below 3 × 10⁷ blocks a side."""
    return (rows + (1 << 25)) * (1 << 26) + (cols + (1 << 25))
