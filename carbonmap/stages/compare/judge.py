"""One model on held-out land: all the sums that a comparison's figures are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from carbonmap import fields, progress
from carbonmap.classes import DENSITY_EDGES, Classes, Dummy, class_errors
from carbonmap.ensembles import MOST_DRAWS, Scores, scores
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.intervals import Sides, sides
from carbonmap.metrics import SSIM_RADIUS, Errors
from carbonmap.models.protocol import Model, maps
from carbonmap.splits import Role, assign_blocks
from carbonmap.stages import scope
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.comparison import CORE, Judged, judged
from carbonmap.stages.job import Job, label_scale
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
"""Held-out pixels that are kept at most, by which intervals are found and judged: 24 MB."""

STRIP = 1 << 22
"""Values of a tile's draws that are scored at a time: as doubles they take 34 MB."""

COLUMNS = ("lot", "row", "col", "part", "one", "few", "mean", "below", "above", "truth")
"""Of `Pixels.table`: lot, row and column of the block by which errors are told, block of the split
by which the pixel's stand was held out, one map, mean of `MEAN_OF`, mean of all and how far they
reach to either side (`intervals.sides`), and truth."""


@dataclass(frozen=True)
class Ground:
    """The land on which models are judged.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        scale: Mg C/ha that count as 1.
        blocks: of the split, one of each stand, as `splits.assign_blocks` tells them.
        dummy: the mean of the training labels, which is what knowing nothing gives.
    """

    sampler: Sampler
    stacks: Sequence[xr.Dataset]
    scale: float
    blocks: Ints
    dummy: Dummy

    def split_blocks(self, part: Grid) -> Ints:
        """The block of the split of every pixel's stand, ``(row, col)``; −1 where there is none."""
        return np.asarray(np.r_[self.blocks, -1][self.sampler.stands(part)])

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
                    layers = scope.read_layers(stack, grid, wide, model.layers, model.halo)
                    yield wide, layers, truth


def ground_of(job: Job) -> Ground:
    """The land that a job holds out."""
    stands, sampler = job.split()
    blocks = assign_blocks(list(stands.geometry), job.project.model.split, job.grid.anchor)
    return Ground(sampler, job.stacks, label_scale(job.labels), blocks, learned_mean(sampler))


def learned_mean(sampler: Sampler) -> Dummy:
    """The mean label of the training stands: the map of a model that has learned nothing else."""
    total = Dummy()
    for tile in tiles(sampler.grid, TILE_PX):
        usable, density = sampler.candidates(tile, Role.TRAIN)
        total += Dummy.of(density[usable])
    return total


def blocks(part: Grid, edge_m: float) -> tuple[Ints, Ints]:
    """Rows and columns of square blocks of the lattice, at every pixel's centre."""
    rows, cols = (np.floor((p + 0.5) * (part.pixel_m / edge_m)) for p in fields.places(part))
    near = np.broadcast_arrays(rows.astype(np.int64), cols.astype(np.int64))
    return near[0], near[1]


@dataclass(frozen=True)
class Pixels:
    """Held-out pixels one by one, at most about `KEPT_PX`, chosen by lots of their places.

    Args:
        table: ``(pixel, column)``, the `COLUMNS`.
    """

    table: Floats = field(default_factory=lambda: np.empty((0, len(COLUMNS))))

    def __add__(self, other: Pixels) -> Pixels:
        joined = np.concatenate([self.table, other.table])
        return Pixels(joined[np.argsort(joined[:, 0], kind="stable")[:KEPT_PX]])

    def column(self, name: str) -> Floats:
        """One of the `COLUMNS`."""
        return self.table[:, COLUMNS.index(name)]

    @property
    def sides(self) -> Sides:
        """Of all draws."""
        return Sides(*(self.column(name) for name in Sides._fields))

    @property
    def blocks(self) -> Ints:
        """Number of each pixel's block, from 0."""
        _, number = np.unique(self.table[:, 1:3], axis=0, return_inverse=True)
        return np.asarray(number.reshape(-1), np.int64)

    @property
    def halves(self) -> Bool:
        """Which of two halves each pixel's stand belongs to, as its block of the split, in turn.

        No stand lies in both; where two blocks of different halves meet, neighbouring stands may.
        """
        _, number = np.unique(self.column("part"), return_inverse=True)
        return np.asarray(number.reshape(-1) % 2 == 1)


def _no_classes() -> Classes:
    return Classes(DENSITY_EDGES, tuple(Errors() for _ in DENSITY_EDGES))


@dataclass(frozen=True)
class Verdict:
    """What a model's maps are worth on held-out land; those of two tiles add.

    Args:
        one: of one map: a regression's, or a generative model's first draw.
        mean: of the mean of `MEAN_OF` draws; of the one map where there is but one.
        whole: of all draws.
        by_truth: errors of the mean of all draws by density of the truth.
        by_map: likewise by density of that mean itself; of few draws, whose mean has noise of its
            own, even a perfect sampler's would look biased.
        baseline: of the training labels' mean, where the model answers.
        pixels: single ones.
    """

    one: Judged = field(default_factory=Judged)
    mean: Judged = field(default_factory=Judged)
    whole: Scores = field(default_factory=Scores)
    by_truth: Classes = field(default_factory=_no_classes)
    by_map: Classes = field(default_factory=_no_classes)
    baseline: Errors = field(default_factory=Errors)
    pixels: Pixels = field(default_factory=Pixels)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.one + other.one,
            self.mean + other.mean,
            self.whole + other.whole,
            self.by_truth + other.by_truth,
            self.by_map + other.by_map,
            self.baseline + other.baseline,
            self.pixels + other.pixels,
        )


def judge(name: str, model: Model, ground: Ground, draws: int) -> Verdict:
    """Judge a model on all held-out land; memory is a tile's draws.

    Args:
        name: of the model, for messages.
        model: of a generative one, `draws` maps are drawn.
        ground: where.
        draws: at least `MEAN_OF`, at most `MOST_DRAWS`.

    Raises:
        ModelError: too few or too many draws, or no held-out pixel.
    """
    require_draws(draws)
    total = Verdict()
    for wide, layers, truth in ground.parts(model):
        total += _verdict(maps(model, layers, wide, draws, np.isfinite(truth)), truth, wide, ground)
    if not total.mean.errors.count:
        raise ModelError(
            f"model {name!r} has no held-out pixel with a label and all of its layers, so nothing "
            f"judges it; hold out other blocks, or compare without it"
        )
    return total


def require_draws(draws: int) -> None:
    """Refuse fewer draws than the mean of which every generative model is judged by, or too many.

    Raises:
        ModelError: there are.
    """
    if draws > MOST_DRAWS:
        raise ModelError(
            f"{draws} draws are too many: memory is a tile's draws; draw at most {MOST_DRAWS}"
        )
    if draws < MEAN_OF:
        raise ModelError(
            f"{draws} draws are too few: the mean of {MEAN_OF} is to be judged; draw at least that"
        )


def _verdict(drawn: Floats, truth: Raster, wide: Grid, ground: Ground) -> Verdict:
    inner, true = drawn.mean(0)[CORE], truth[CORE]
    return Verdict(
        judged(drawn[0], truth, ground.scale),
        judged(drawn[:MEAN_OF].mean(0), truth, ground.scale),
        _scores(drawn[:, *CORE], true),
        class_errors(inner, true),
        class_errors(inner, true, by=inner),
        ground.dummy.errors(np.where(np.isfinite(inner), true, np.nan)),
        pixels_of(drawn[:, *CORE], true, wide.padded(-SSIM_RADIUS), ground),
    )


def _scores(drawn: Floats, truth: Raster) -> Scores:
    """Scores of a tile, strip by strip, since they need several copies of all draws."""
    high = _at_a_time(drawn[:, 0])
    strips = (slice(top, top + high) for top in range(0, len(truth), high))
    return sum((scores(drawn[:, rows], truth[rows]) for rows in strips), Scores())


def _at_a_time(part: Floats) -> int:
    """How many parts of this size make a strip, at least one."""
    return max(1, STRIP // part.size)


def pixels_of(drawn: Floats, truth: Raster, part: Grid, ground: Ground) -> Pixels:
    """Those of a tile's pixels that can be among the ones kept."""
    known = np.isfinite(truth) & np.isfinite(drawn.mean(0))
    lots = fields.uniform(*fields.places(part), fields.field_key(0, "kept"))[known]
    kept = np.argsort(lots, kind="stable")[:KEPT_PX]
    place = tuple(at[kept] for at in np.nonzero(known))
    row, col = (at[place] for at in blocks(part, BLOCK_M))
    columns = {
        "lot": lots[kept],
        "row": row,
        "col": col,
        "part": ground.split_blocks(part)[place],
        **_told(drawn, *place),
        "truth": truth[place],
    }
    return Pixels(np.column_stack([columns[c].astype(np.float64) for c in COLUMNS]))


def _told(drawn: Floats, row: Ints, col: Ints) -> dict[str, Floats]:
    """Of the draws of some pixels, strip by strip."""
    names, most = ("one", "few", *Sides._fields), _at_a_time(drawn[:, 0, 0])
    found = np.empty((len(names), len(row)))
    for start in range(0, len(row), most):
        some = slice(start, start + most)
        x = drawn[:, row[some], col[some]].astype(np.float64)
        found[:, some] = x[0], x[:MEAN_OF].mean(0), *sides(x)
    return dict(zip(names, found, strict=True))
