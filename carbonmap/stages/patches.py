"""Patches for a network to learn from, read from archive and labels while it learns."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from carbonmap import progress
from carbonmap.features import BANDS, features_at, valid_pixels
from carbonmap.grid import Grid
from carbonmap.io.store import CHUNK_PX
from carbonmap.normalise import Inputs, Moments, Normalisation, encode
from carbonmap.patches import Place, Places, cells_of, count_cells, turned
from carbonmap.splits import Role
from carbonmap.stages import common, scope
from carbonmap.stages.sampler import Sampler
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bool, Floats, Ints, Raster

BLOCK_PX = CHUNK_PX
"""Edge of the blocks that are kept in memory: a chunk of the archive is decompressed as a whole."""

CACHE_BYTES = 512 << 20
"""What blocks may take in memory: 18 of a region's blocks with bands, elevation, height and labels,
so that a county of 4000 × 4000 pixels is read once."""

AHEAD = 2
"""Batches made at least while one is learned from: one that comes next, and one against a step that
was quick or a block that had to be read."""

LABEL = "label"
"""Name of the labels' blocks in the cache."""

T = TypeVar("T")


class Patches(NamedTuple):
    """What `learning.learner.Batch` describes, as arrays.

    Args:
        condition: float32, ``(batch, channel, row, col)``.
        target: float32, ``(batch, 1, row, col)``, −1 to 1; −1 where the weight is 0.
        weight: float32, likewise, 1 or 0.
    """

    condition: Floats
    target: Floats
    weight: Floats


class Blocks:
    """Blocks of layers in memory, the least recently used dropped first; threads may share it."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self._held: OrderedDict[object, Raster] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, read: Callable[[], Raster]) -> Raster:
        """The block of that key, read where it is not held; it is not to be written to."""
        with self._lock:
            if key not in self._held:
                self._held[key] = block = read()
                self.held_bytes += block.nbytes
                while self.held_bytes > self.most_bytes and len(self._held) > 1:
                    self.held_bytes -= self._held.popitem(last=False)[1].nbytes
            self._held.move_to_end(key)
            return self._held[key]


@dataclass(frozen=True)
class Survey:
    """What there is to learn from.

    Args:
        counts: usable pixels by image and cell, ``(image, row, col)``, as `Places` takes them.
        moments: of the channels at these pixels, in the layers' own units.
        labels: of their labels, Mg C/ha, as the only channel.
    """

    counts: Ints
    moments: Moments
    labels: Moments


def survey(
    sampler: Sampler,
    stacks: Sequence[xr.Dataset],
    inputs: Inputs,
    role: Role,
    threads: int = common.WORKERS,
) -> Survey:
    """Count a role's usable pixels, and add up what their channels hold, tile by tile.

    A pixel is usable where its label is (`Sampler.candidates`) and the image has every layer.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each.
        inputs: what the network reads.
        role: of the stands.
        threads: tiles at a time; the result does not depend on it.
    """
    grid, spec = sampler.grid, inputs.features
    counts = np.zeros((len(stacks), *cells_of(grid)), np.int64)
    moments = Moments.of(np.empty((0, len(spec.names)), np.float32))
    labels = Moments.of(np.empty((0, 1), np.float32))

    def look(tile: Tile) -> tuple[Tile, list[tuple[Bool, Moments, Moments]]]:
        usable, density = sampler.candidates(tile, role)
        found = []
        for stack in stacks if usable.any() else ():
            layers = scope.read_layers(stack, grid, tile.grid, spec.layers, spec.halo)
            taken = usable & valid_pixels(layers, spec)
            channels = Moments.of(features_at(layers, spec, grid.pixel_m, taken))
            found.append((taken, channels, Moments.of(density[taken][:, None])))
        return tile, found

    todo = list(tiles(grid, common.TILE_PX))
    seen = common.ahead(look, todo, threads)
    for tile, found in progress.track(seen, f"counting {role.name.lower()} pixels", len(todo)):
        for image, (taken, part, known) in enumerate(found):
            count_cells(taken, tile.roi, counts[image])
            moments += part
            labels += known
    return Survey(counts, moments, labels)


@dataclass(frozen=True)
class PatchSource:
    """Batches of patches, each a function of its step alone.

    Args:
        sampler: grid, labels and roles.
        stacks: the region's layers with one image each, numbered as in the places.
        inputs: what the network reads.
        norm: of the channels.
        scale: density that counts as 1 on the 0–1 scale, Mg C/ha.
        places: where patches lie.
        role: of the stands that are learned from; pixels of others never have weight, and no label
            of theirs is in a batch.
        slots: which of a step's patches this process takes.
        band_drop: probability with which an image band of a patch is lost (see `encode`), so that
            a network does not lean on one.
        blocks: what was read; sources of one region may share it.
    """

    sampler: Sampler
    stacks: Sequence[xr.Dataset]
    inputs: Inputs
    norm: Normalisation
    scale: float
    places: Places
    role: Role
    slots: range
    band_drop: float = 0.0
    blocks: Blocks = field(default_factory=Blocks)

    def batch(self, step: int) -> Patches:
        """The patches of a step: the same whatever was asked for before, and by whom."""
        patches = [self._patch(step, slot) for slot in self.slots]
        return Patches(*(np.stack(parts) for parts in zip(*patches, strict=True)))

    def _patch(self, step: int, slot: int) -> tuple[Floats, Floats, Floats]:
        place, inputs = self.places.place(step, slot), self.inputs
        wide = place.grid.padded(inputs.halo)
        layers = {name: self._read(name, wide, place) for name in inputs.layers}
        drawn = self.places.dropped(step, slot, self.band_drop, len(BANDS))
        lost = [band for band, gone in zip(BANDS, drawn, strict=True) if gone]
        condition = encode(layers, inputs, self.norm, place.grid.pixel_m, lost)
        label = self._read(LABEL, place.grid, place)[None]
        usable = np.isfinite(label) & (condition[-1:] > 0)
        target = np.where(usable, 2 * label / np.float32(self.scale) - 1, np.float32(-1))
        parts = (condition, target, usable.astype(np.float32))
        one, two, three = (turned(part, place.symmetry) for part in parts)
        return one, two, three

    def _read(self, name: str, part: Grid, place: Place) -> Raster:
        """A layer of a patch, NaN beyond the region."""
        grid, out = self.sampler.grid, np.full(part.shape, np.nan, np.float32)
        held = part.intersection(grid)
        for tile in _blocks(grid, held) if held is not None else ():
            shared = tile.grid.intersection(part)
            if shared is not None:
                key = self._key(name, place, tile)
                block = self.blocks.get(key, self._reader(name, place, tile))
                out[part.roi_of(shared)] = block[tile.grid.roi_of(shared)]
        return out

    def _key(self, name: str, place: Place, tile: Tile) -> object:
        """By which a block is known: layers that are no image's are every image's."""
        image = place.image if name in BANDS else None
        return (name, self.role if name == LABEL else image, tile.name)

    def _reader(self, name: str, place: Place, tile: Tile) -> Callable[[], Raster]:
        """What reads a block of a layer, or of the labels that may be learned from."""

        def label() -> Raster:
            usable, density = self.sampler.candidates(tile, self.role)
            return np.where(usable, density, np.nan).astype(np.float32)

        def layer() -> Raster:
            stack, grid = self.stacks[place.image], self.sampler.grid
            return scope.read_layers(stack, grid, tile.grid, [name], 0)[name]

        return label if name == LABEL else layer


def _blocks(grid: Grid, held: Grid) -> Iterator[Tile]:
    """The blocks of a region that a part of it touches, cut where the archive's chunks are."""
    rows, cols = grid.roi_of(held)
    for row in range(rows.start // BLOCK_PX, (rows.stop - 1) // BLOCK_PX + 1):
        for col in range(cols.start // BLOCK_PX, (cols.stop - 1) // BLOCK_PX + 1):
            roi = tuple(slice(i * BLOCK_PX, (i + 1) * BLOCK_PX) for i in (row, col))
            yield Tile(f"r{row}c{col}", (roi[0], roi[1]), grid[roi[0], roi[1]])


class Prefetched(Generic[T]):
    """What a function gives for each step, in order, made by other threads while this one works.

    Leaving the block, in whatever way, ends those threads: what is under way is finished, and
    nothing more is begun. What fails there is raised here, at its own step.

    Args:
        batch: makes what a step needs.
        steps: in which order.
        threads: steps made at a time, for a GPU that is faster than one; the order stays.
    """

    def __init__(self, batch: Callable[[int], T], steps: Sequence[int], threads: int = 1) -> None:
        self.waited_s = 0.0
        self._batch = batch
        self._steps = steps
        self._ahead = max(AHEAD, threads)
        self._pool = ThreadPoolExecutor(threads, "patches")

    def __enter__(self) -> Prefetched[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        """Each step's, once; `waited_s` counts the seconds in which it was not ready yet."""
        ready: deque[Future[T]] = deque()
        for number in range(len(self._steps) + self._ahead):
            if number < len(self._steps):
                ready.append(self._pool.submit(self._batch, self._steps[number]))
            if number >= self._ahead:
                began = time.perf_counter()
                found = ready.popleft().result()
                self.waited_s += time.perf_counter() - began
                yield found
