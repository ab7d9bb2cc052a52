"""A network as a model of maps: windows of the size that it was trained on, cut on the lattice."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np
import torch

from carbonmap.cores import cpu_threads
from carbonmap.diffusion.noise import tiles_noise
from carbonmap.errors import ModelError
from carbonmap.features import valid_pixels
from carbonmap.grid import Grid
from carbonmap.learning.draws import draws_of
from carbonmap.learning.learner import Batch, Learner, Noise
from carbonmap.learning.precision import autocast
from carbonmap.learning.settings import Precision
from carbonmap.networks.fold import folded
from carbonmap.normalise import Inputs, Normalisation, encode
from carbonmap.types import Bands, Bool, Floats, Raster

PERIOD_PX = 1024
"""Lattice pixels after which the cells repeat: the stages' tile, so that none is cut in two."""

MARGIN_SHARE = 10
"""A window's margin is at least this part of its edge: what a network makes of its window's rim
leans on padding instead of land."""


@dataclass(frozen=True)
class Window:
    """What a network sees at once, and what is kept of it.

    Args:
        grid: of all that it sees.
        part: the pixels that it answers for, of those asked for.
    """

    grid: Grid
    part: Grid


@dataclass(frozen=True)
class Neural:
    """A trained network; one of the things that a `Model` may be.

    Its windows have exactly the edge of the patches that it learned from, for a network may learn
    how far away its padding is, and they lie on the lattice (`windows`). Every window is computed
    by itself in one fixed shape on one thread: a convolution's and a matrix product's rounding may
    depend on the batch that it is part of and on how threads share it. So a pixel's value follows
    from the land in its window and its place on the lattice, to the byte on a CPU; windows are
    what runs side by side, from however many tiles they come.

    Args:
        learner: family and weights, as `ready` prepares them.
        inputs: what it reads.
        norm: of its channels.
        tile_px: edge of the patches that it learned from.
        pixel_m: edge of the pixels that it learned from, m.
        scale: density that counts as 1 on the 0–1 scale, Mg C/ha.
        samples: draws whose mean is the map; one is enough where all draws are alike.
        seed: of the draws.
        threads: windows at a time, over all tiles; None for every core.
        batch: windows at a time on a GPU, always that many.
        precision: on a GPU.
        stop: once another thread has set it, no window is begun, and who waits for one gets a
            `CancelledError`: a tile of many draws takes minutes.
    """

    learner: Learner
    inputs: Inputs
    norm: Normalisation
    tile_px: int
    pixel_m: float
    scale: float
    samples: int = 1
    seed: int = 0
    threads: int | None = None
    batch: int = 16
    precision: Precision = "auto"
    stop: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that it needs."""
        return self.inputs.layers

    @property
    def halo(self) -> int:
        """Pixels by which its layers must reach beyond a tile that begins anywhere in a cell."""
        widest = -(-PERIOD_PX // cells(self.tile_px))
        return widest - 1 + -(-(self.tile_px - widest) // 2) + self.inputs.halo

    @property
    def generative(self) -> bool:
        """Whether two draws differ."""
        return self.learner.generative

    def predict(self, layers: Bands, grid: Grid, wanted: Bool | None = None) -> Raster:
        """The mean of `samples` draws; see `carbonmap.models.protocol.Model`.

        Pixels that are not wanted stay NaN where they are far from all that are.
        """
        out = np.full(grid.shape, np.nan, np.float32)
        count = self.samples if self.generative else 1
        for part, drawn in self._drawn(layers, grid, count, wanted):
            total = np.zeros(part.shape)
            for one in drawn:  # one after the other: NumPy's sum rounds by the shape
                total += one
            out[grid.roi_of(part)] = total / count
        out[~self._known(layers, grid)] = np.nan
        return out

    def draws(self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None) -> Floats:
        """Maps of equal right; see `carbonmap.models.protocol.Generative`."""
        out = np.full((count, *grid.shape), np.nan, np.float32)
        for part, drawn in self._drawn(layers, grid, count, wanted):
            out[:, *grid.roi_of(part)] = drawn
        out[:, ~self._known(layers, grid)] = np.nan
        return out

    def whole_cells(self, grid: Grid) -> Grid:
        """Cells that fill batches; see `carbonmap.models.protocol.Windowed`."""
        n, size = cells(self.tile_px), _fixed(_device(self.learner), self.batch)
        down = next(d for d in range(math.isqrt(size), 0, -1) if size % d == 0)
        top, bottom = _run(grid.row, grid.height, down, n)
        left, right = _run(grid.col, grid.width, size // down, n)
        return dataclasses.replace(grid, row=top, col=left, height=bottom - top, width=right - left)

    def _drawn(
        self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None
    ) -> Iterator[tuple[Grid, Floats]]:
        """Parts of a tile with their draws, ``(count, row, col)``."""
        known, wide = self._known(layers, grid), grid.padded(self.halo)
        known = known if wanted is None else known & wanted
        todo = [w for w in windows(grid, self.tile_px) if known[grid.roi_of(w.part)].any()]
        size = _fixed(_device(self.learner), self.batch)
        groups = [todo[i : i + size] for i in range(0, len(todo), size)]

        def one(group: list[Window]) -> Floats:
            if self.stop.is_set():
                raise CancelledError
            filled = [w.grid for w in group + group[-1:] * (size - len(group))]
            return self._densities(
                np.stack([self._encoded(layers, wide, g) for g in filled]), filled, count
            )

        pool = _pool(self.threads or cpu_threads())
        for group, drawn in zip(groups, pool.map(one, groups), strict=True):
            for window, tiles in zip(group, drawn, strict=False):  # what fills the batch is left
                yield window.part, tiles[:, *window.grid.roi_of(window.part)]

    def _encoded(self, layers: Bands, wide: Grid, window: Grid) -> Floats:
        rows, cols = wide.roi_of(window.padded(self.inputs.halo))
        seen = {name: layers[name][rows, cols] for name in self.layers}
        return encode(seen, self.inputs, self.norm, self.pixel_m)

    def _densities(self, seen: Floats, grids: list[Grid], count: int) -> Floats:
        """Draws of whole windows, Mg C/ha, ``(window, draw, row, col)``."""
        device = _device(self.learner)
        condition = torch.from_numpy(seen).to(device, memory_format=torch.channels_last)
        noises = [_on(device, tiles_noise(grids, self.seed, k)) for k in range(count)]
        alone = device.type == "cpu"
        precision: Precision = "float32" if alone else self.precision  # whatever it learned in
        with nullcontext() if alone else _TURN, autocast(precision, device):
            maps = draws_of(self.learner, condition, noises)[:, :, 0].float().cpu().numpy()
        return (np.swapaxes(maps, 0, 1) + 1) * np.float32(self.scale / 2)

    def _known(self, layers: Bands, grid: Grid) -> Bool:
        """Pixels of a tile at which every layer is known, once these fit the model.

        Raises:
            ModelError: a layer is missing or of another shape, or the pixel is another.
        """
        if grid.pixel_m != self.pixel_m:
            raise ModelError(
                f"the model learned from pixels of {self.pixel_m:g} m and the tile has pixels of "
                f"{grid.pixel_m:g} m; train one on these"
            )
        known = valid_pixels(layers, self.inputs.features)
        spare = self.halo - self.inputs.halo
        want = grid.padded(spare).shape
        if known.shape != want:
            raise ModelError(
                f"layers have shape {layers[self.layers[0]].shape}; they should have "
                f"{grid.padded(self.halo).shape}, the tile with a halo of {self.halo} pixels"
            )
        return known[spare : want[0] - spare, spare : want[1] - spare]


def cells(tile_px: int) -> int:
    """Cells along `PERIOD_PX`: as few as leave every window its margin."""
    return -(-PERIOD_PX // (tile_px - 2 * (tile_px // MARGIN_SHARE)))


def windows(grid: Grid, tile_px: int) -> Iterator[Window]:
    """The windows that answer for a tile's pixels, each centred on its cell, row by row.

    Cell k lies between the lattice coordinates ``⌊k P / n⌋`` and ``⌊(k + 1) P / n⌋`` with P
    `PERIOD_PX` and n `cells`, along each axis.
    """
    for (top, bottom), (left, right) in product(
        _spans(grid.row, grid.height, tile_px), _spans(grid.col, grid.width, tile_px)
    ):
        cell = dataclasses.replace(grid, row=top, col=left, height=bottom - top, width=right - left)
        part = cell.intersection(grid)
        assert part is not None  # a span touches the grid
        yield Window(
            dataclasses.replace(
                grid,
                row=top - (tile_px - cell.height) // 2,
                col=left - (tile_px - cell.width) // 2,
                height=tile_px,
                width=tile_px,
            ),
            part,
        )


def _spans(first: int, count: int, tile_px: int) -> Iterator[tuple[int, int]]:
    """First lattice coordinate and the one past the last of each cell that a run touches."""
    n = cells(tile_px)
    for k in range(_cell(first, n), _cell(first + count - 1, n) + 1):
        yield k * PERIOD_PX // n, (k + 1) * PERIOD_PX // n


def _cell(at: int, n: int) -> int:
    """The cell that holds a lattice coordinate."""
    return -(-(at + 1) * n // PERIOD_PX) - 1


def _run(first: int, count: int, each: int, n: int) -> tuple[int, int]:
    """The ends of a multiple of `each` whole cells, of about `count` pixels from its first on."""
    k, many = _cell(first, n), each * max(1, round(count * n / PERIOD_PX / each))
    return k * PERIOD_PX // n, (k + many) * PERIOD_PX // n


def ready(learner: Learner) -> Learner:
    """A copy of a learner, a frozen dataclass, to draw maps with: see `networks.fold.folded`."""
    return dataclasses.replace(learner, network=folded(learner.network))  # type: ignore[type-var]


def as_batch(condition: Floats, target: Floats, weight: Floats) -> Batch:
    """The arrays of a batch as tensors, on the same memory."""
    return Batch(*map(torch.from_numpy, (condition, target, weight)))


def _device(learner: Learner) -> torch.device:
    return next(learner.network.parameters()).device


def _fixed(device: torch.device, batch: int) -> int:
    """Windows in a batch: one on a CPU, which a single window keeps as busy as many."""
    return 1 if device.type == "cpu" else batch


def _on(device: torch.device, noise: Noise) -> Noise:
    """Noise that is made where it is used."""
    return lambda name, channels, stride=1: noise(name, channels, stride).to(device)


_TURN = threading.Lock()
"""Whose turn it is on a GPU: one batch fills it, and two would take twice its memory."""

_LOCK = threading.Lock()


def _pool(threads: int) -> ThreadPoolExecutor:
    """The threads on which windows are computed: the same ones for all tiles and models."""
    with _LOCK:  # two tiles may ask at once
        return _made(threads)


@cache
def _made(threads: int) -> ThreadPoolExecutor:
    """Threads within each of which torch has one of its own, and none less elsewhere.

    torch keeps that number by thread, and gives new ones what was set last in any; so all threads
    are begun here, and then the caller's number is set again.
    """
    held = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "windows", _alone)
    together = threading.Barrier(threads)
    list(pool.map(lambda _: together.wait(), range(threads)))
    torch.set_num_threads(held)
    return pool


def _alone() -> None:
    """Give torch one thread within this one.

    A thread takes over the number that was set last in any when it first asks for it, even after it
    has set its own: so it asks first.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
