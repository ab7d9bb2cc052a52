"""A network as a model of maps: windows of the size that it was trained on, cut on the lattice."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch

from carbonmap import blending
from carbonmap.blending import Shares
from carbonmap.cores import cpu_threads
from carbonmap.diffusion.noise import tiles_noise
from carbonmap.errors import ModelError
from carbonmap.features import valid_pixels
from carbonmap.grid import Grid
from carbonmap.learning.draws import draws_of
from carbonmap.learning.learner import Batch, Learner, Noise
from carbonmap.learning.precision import autocast
from carbonmap.learning.settings import Precision
from carbonmap.models.windows import Window, filling, halo, reach, windows
from carbonmap.networks.fold import folded
from carbonmap.normalise import Inputs, Normalisation, encode
from carbonmap.summaries import mean
from carbonmap.types import Bands, Bool, Floats, Raster


@dataclass(frozen=True)
class Neural:
    """A trained network; one of the things that a `Model` may be.

    Its windows have exactly the edge of the patches that it learned from, for a network may learn
    how far away its padding is, and they lie on the lattice (`windows`). Every window is computed
    by itself in one fixed shape on one thread: a convolution's and a matrix product's rounding may
    depend on the batch that it is part of and on how threads share it. So a pixel's value follows
    from the land in its windows and its place on the lattice, to the byte on a CPU; windows are
    what runs side by side, from however many tiles they come. Where two of them meet, each draw
    fades from the one into the other (`blending`); both have the same noise there.

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
    def reach(self) -> int:
        """Pixels around its cell that a window has a share of."""
        return reach(self.tile_px)

    @property
    def halo(self) -> int:
        """Pixels by which its layers must reach beyond a tile that begins anywhere in a cell."""
        return halo(self.tile_px) + self.inputs.halo

    @property
    def generative(self) -> bool:
        """Whether two draws differ."""
        return self.learner.generative

    @property
    def quantum(self) -> float:
        """Of its maps, Mg C/ha."""
        return blending.quantum(self.scale)

    def predict(self, layers: Bands, grid: Grid, wanted: Bool | None = None) -> Raster:
        """The mean of `samples` draws; see `carbonmap.models.protocol.Model`.

        Pixels that are not wanted stay NaN.
        """
        out = np.full(grid.shape, np.nan, np.float32)
        for part, drawn in self._drawn(layers, grid, self._many(self.samples), wanted):
            out[grid.roi_of(part)] = mean(drawn)
        return out

    def draws(self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None) -> Floats:
        """Maps of equal right; see `carbonmap.models.protocol.Generative`."""
        out = np.full((count, *grid.shape), np.nan, np.float32)
        for part, drawn in self._drawn(layers, grid, self._many(count), wanted):
            out[:, *grid.roi_of(part)] = drawn
        return out

    def shares(
        self, layers: Bands, grid: Grid, count: int, wanted: Bool | None = None
    ) -> Iterator[Shares]:
        """Strips of a tile and its rim; see `carbonmap.models.protocol.Windowed`."""
        area = grid.padded(self.reach)
        return self._blended(layers, grid, area, list(windows(grid, self.tile_px)), count, wanted)

    def whole_cells(self, grid: Grid) -> Grid:
        """Cells that fill batches; see `carbonmap.models.protocol.Windowed`."""
        return filling(grid, self.tile_px, _fixed(_device(self.learner), self.batch))

    def _many(self, count: int) -> int:
        """Draws to compute for so many: one where all are alike."""
        return count if self.generative else 1

    def _drawn(
        self, layers: Bands, grid: Grid, count: int, wanted: Bool | None
    ) -> Iterator[tuple[Grid, Floats]]:
        """Parts of a tile with their draws, whichever tiles the windows belong to."""
        around = list(windows(grid.padded(self.reach), self.tile_px))
        for strip in self._blended(layers, grid, grid, around, count, wanted):
            yield strip.grid, strip.draws(self.quantum)

    def _blended(
        self,
        layers: Bands,
        grid: Grid,
        area: Grid,
        around: list[Window],
        count: int,
        wanted: Bool | None,
    ) -> Iterator[Shares]:
        """What windows give to the pixels of an area that are known and wanted.

        A window is computed where its own cell is known somewhere, whoever asks, so that a pixel's
        windows do not depend on what else is wanted.
        """
        seen = self._known(layers, grid)
        wide = grid.padded(self.halo - self.inputs.halo)
        asked = seen[wide.roi_of(area)] & (True if wanted is None else wanted)

        def needed(window: Window) -> bool:
            near = window.cell.padded(self.reach).intersection(area)
            known = seen[wide.roi_of(window.cell)].any()
            return bool(near is not None and known and asked[area.roi_of(near)].any())

        computed = self._computed(layers, grid, [w for w in around if needed(w)], count)
        for strip in blending.blended(computed, area, self.reach, count):
            left_out = ~asked[area.roi_of(strip.grid)]
            strip.sums[:, left_out] = 0
            strip.weights[left_out] = 0
            yield strip

    def _computed(
        self, layers: Bands, grid: Grid, todo: list[Window], count: int
    ) -> Iterator[tuple[Grid, blending.Whole]]:
        """Cells with what their windows make of them and their surroundings, in quanta."""
        size, wide = _fixed(_device(self.learner), self.batch), grid.padded(self.halo)
        groups = [todo[i : i + size] for i in range(0, len(todo), size)]

        def one(group: list[Window]) -> blending.Whole:
            if self.stop.is_set():
                raise CancelledError
            filled = [w.grid for w in group + group[-1:] * (size - len(group))]
            seen = np.stack([self._encoded(layers, wide, g) for g in filled])
            return blending.quanta(self._densities(seen, filled, count), self.quantum)

        threads = self.threads or cpu_threads()
        for group, drawn in zip(groups, _ahead(_pool(threads), one, groups, threads), strict=True):
            for window, tiles in zip(group, drawn, strict=False):  # what fills the batch is left
                yield window.cell, tiles[:, *window.grid.roi_of(window.cell.padded(self.reach))]

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
        if not np.isfinite(maps).all():
            raise ModelError(
                "the network answers with something that is no number: it has diverged; train it "
                "anew with a lower model.training.learning_rate"
            )
        return (np.swapaxes(maps, 0, 1) + 1) * np.float32(self.scale / 2)

    def _known(self, layers: Bands, grid: Grid) -> Bool:
        """Pixels of a tile and all around it that windows see at which every layer is known.

        Raises:
            ModelError: a layer is missing or of another shape, or the pixel is another.
        """
        if grid.pixel_m != self.pixel_m:
            raise ModelError(
                f"the model learned from pixels of {self.pixel_m:g} m and the tile has pixels of "
                f"{grid.pixel_m:g} m; train one on these"
            )
        known = valid_pixels(layers, self.inputs.features)
        if known.shape != grid.padded(self.halo - self.inputs.halo).shape:
            raise ModelError(
                f"layers have shape {layers[self.layers[0]].shape}; they should have "
                f"{grid.padded(self.halo).shape}, the tile with a halo of {self.halo} pixels"
            )
        return known


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


def _ahead(
    pool: ThreadPoolExecutor,
    one: Callable[[list[Window]], blending.Whole],
    groups: Sequence[list[Window]],
    threads: int,
) -> Iterator[blending.Whole]:
    """What `one` gives for each group, in order; few more than the threads are held at a time."""
    waiting: deque[Future[blending.Whole]] = deque()
    try:
        for group in groups:
            waiting.append(pool.submit(one, group))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for left in waiting:
            left.cancel()


def _alone() -> None:
    """Give torch one thread within this one.

    A thread takes over the number that was set last in any when it first asks for it, even after it
    has set its own: so it asks first.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
