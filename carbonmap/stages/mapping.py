"""One map as any process can compute it: from plain values and the disk, tile by tile."""

from __future__ import annotations

import dataclasses
import math
import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import dask
import numpy as np
import shapely
import xarray as xr

from carbonmap import applicability, fields
from carbonmap.checkpoint import Checkpoint
from carbonmap.coverage import polygon_coverage
from carbonmap.errors import CorruptData, MissingInput, ModelError
from carbonmap.features import FeatureSpec, features_at, valid_pixels
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Work
from carbonmap.models.protocol import Windowed
from carbonmap.stages import cluster, common, drawing, products, scope
from carbonmap.stages.cluster import Failure
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.mask import read_forest
from carbonmap.stages.products import NAME
from carbonmap.stages.sharing import Asked, TwoPass
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Bool, Json, Raster

IN_BOUNDARY = 0.5
"""Least share of a pixel inside the region's boundary for it to be on the map: the neighbour's map
takes the other half."""

SEEN_TILES = 64
"""By which land is compared with what the model learned, at most: they lie all over the region."""

SEEN_PX = 262_144
"""Pixels that are compared, about: every tile is read whole, since that is how it is stored."""


@dataclass(frozen=True)
class Job:
    """What every tile of one map needs.

    Args:
        stack: the region's layers with the one image.
        grid: the region's.
        loaded: the model.
        mask: forest mask, or None.
        outline: the region's boundary, or None where it is a box.
    """

    stack: xr.Dataset
    grid: Grid
    loaded: Checkpoint
    mask: Path | None
    outline: shapely.Geometry | None

    def density(self, tile: Tile) -> dict[str, Raster] | None:
        """Mg C/ha of a tile, by a model that has no windows; None where the map has no data."""
        if (asked := self.asked(tile)) is None:
            return None
        found = self.loaded.model.predict(asked[0], tile.grid)
        out = np.where(asked[1], found, np.float32(np.nan))
        return {NAME: out} if np.isfinite(out).any() else None

    def asked(self, tile: Tile, reach: int = 0) -> Asked | None:
        """A tile's layers, and the pixels of it and `reach` around it that the map is meant for."""
        area = tile.grid.padded(reach)
        held = area.intersection(self.grid)
        assert held is not None  # a tile lies in its region
        wanted = np.zeros(area.shape, dtype=bool)
        wanted[area.roi_of(held)] = self._wanted(held)
        if not wanted.any():
            return None
        model = self.loaded.model
        layers = scope.read_layers(self.stack, self.grid, tile.grid, model.layers, model.halo)
        return layers, wanted

    def unlike(self, ranges: applicability.Ranges) -> dict[str, float]:
        """Share of pixels, in tiles all over the region, beyond what the model learned."""
        learned = FeatureSpec.from_json(self.loaded.card["features"])
        spec = dataclasses.replace(learned, radii=())  # pixels alone, so that they cost little
        some = some_of(self.grid)
        apart = max(1, math.isqrt(sum(tile.grid.size for tile in some) // SEEN_PX))
        found = []
        for tile in some:
            rows, cols = fields.places(tile.grid)
            layers = scope.read_layers(self.stack, self.grid, tile.grid, spec.layers, spec.halo)
            known = self._wanted(tile.grid) & valid_pixels(layers, spec)
            known &= (rows % apart == 0) & (cols % apart == 0)
            found.append(features_at(layers, spec, self.grid.pixel_m, known))
        seen = np.concatenate(found)
        return applicability.outside(seen, ranges) if len(seen) else {}

    def _wanted(self, part: Grid) -> Bool:
        """Pixels that the map is meant for."""
        wanted = np.ones(part.shape, dtype=bool)
        if self.outline is not None:
            cover = polygon_coverage(np.array([self.outline], dtype=object), part)
            share = np.bincount(cover.cell, cover.fraction, part.size)
            wanted = share.reshape(part.shape) >= IN_BOUNDARY
        forest = read_forest(self.mask, part)
        return wanted if forest is None else wanted & forest


def some_of(grid: Grid) -> list[Tile]:
    """`SEEN_TILES` of a region at most, by lots of their places: every n-th could be one column."""
    every = list(tiles(grid, common.TILE_PX))
    rows, cols = (np.array([getattr(t.grid, name) for t in every]) for name in ("row", "col"))
    lots = fields.uniform(rows, cols, fields.field_key(0, "seen"))
    return [every[k] for k in np.argsort(lots, kind="stable")[:SEEN_TILES]]


@dataclass(frozen=True)
class Plan:
    """A map in plain values, which travel to other processes that share the disk.

    Args:
        archive: its folder, absolute, like all paths.
        region: name in the archive.
        grid: the region's.
        day: of the image.
        outline: the region's boundary, or None where it is a box.
        mask: forest mask, or None.
        model: its folder.
        sha256: of the model's weights.
        told: how the model draws, which every process must do alike.
        interval: what `calibrate` found of it, None where nobody did.
        release: versions of what computes; see `release`.
        threads: of each process.
        work: the claimed output; its journal stays with the process that claimed it.
        made: the maps by name.
    """

    archive: Path
    region: str
    grid: Grid
    day: str
    outline: shapely.Geometry | None
    mask: Path | None
    model: Path
    sha256: str
    told: Json
    interval: Json | None
    release: Json
    threads: int | None
    work: Work
    made: Mapping[str, MapFile]

    def sent(self) -> Plan:
        """The same without the journal, which grows with every tile."""
        return dataclasses.replace(self, work=dataclasses.replace(self.work, done={}))


@dataclass(frozen=True)
class Opened:
    """A plan with its files open and its model in memory.

    Args:
        job: what every tile needs.
        drawn: the model.
        sharing: where it sees windows; None else.
        plan: of which it is.
    """

    job: Job
    drawn: Drawn
    sharing: TwoPass | None
    plan: Plan

    def tile(self, tile: Tile) -> tuple[str, Json]:
        """What a tile costs most of: its windows, or of a model without any the tile itself."""
        if self.sharing is not None:
            return self.sharing.windows(tile)
        return common.compute_tile(self.plan.work, self.plan.made, self.job.density, tile)


def opened(plan: Plan, drawn: Drawn | None = None) -> Opened:
    """Open what a plan names.

    Args:
        plan: the map's.
        drawn: its model, where it is in memory already.

    Raises:
        CorruptData: the model at hand is not the plan's.
    """
    if drawn is None:
        options = (plan.told.get(key) for key in ("samples", "sampler_steps", "device"))
        drawn = drawing.drawn(plan.model, plan.threads, *options)
    if (drawn.loaded.sha256, drawn.told) != (plan.sha256, plan.told):
        raise CorruptData(
            f"model {str(plan.model)!r} is another than when the run began, or draws otherwise on "
            f"{platform.node()}; run the command again"
        )
    drawn = dataclasses.replace(drawn, interval=plan.interval)
    stack, _ = scope.one_image(plan.archive, plan.region, [plan.day])
    job = Job(stack, plan.grid, drawn.loaded, plan.mask, plan.outline)
    model, told = drawn.loaded.model, partial(products.summarise, drawn)
    sharing = None
    if isinstance(model, Windowed):
        names = list(plan.made)
        sharing = TwoPass(plan.grid, plan.work, model, drawn.samples, names, job.asked, told)
    return Opened(job, drawn, sharing, plan)


def release() -> Json:
    """Versions of what a map's bytes may depend on."""
    return {name: version(name) for name in ("carbonmap", "torch", "numpy", "scikit-learn")}


def tile_of(plan: Plan, tile: Tile) -> tuple[str, Json] | Failure:
    """One tile, by a process that is told nothing else; what it opens it keeps for the next one.

    Its layers are read here, and not by other processes of the cluster.
    """
    with dask.config.set(scheduler="synchronous"):
        return cluster.caught(lambda part: _held(plan).tile(part), tile)


_OPEN: dict[str, Opened] = {}
"""The one plan that this process has open, by its work folder and its origin."""

_TURN = threading.Lock()


def _held(plan: Plan) -> Opened:
    key = common.digest([str(plan.work.folder), plan.work.origin])
    _require_alike(plan)
    with _TURN:
        if key not in _OPEN:
            _OPEN.clear()
            _OPEN[key] = opened(plan)
        return _OPEN[key]


def _require_alike(plan: Plan) -> None:
    """Refuse to compute with other versions than the run's, or beside the folder that it fills.

    Raises:
        ModelError: the versions differ.
        MissingInput: this process does not see the run's folder, or the run is over.
    """
    if (own := release()) != plan.release:
        raise ModelError(
            f"a worker on {platform.node()} has {own}, and this run {plan.release}: maps could "
            f"differ in their bytes; install the same on both"
        )
    if files.read_json(plan.work.folder / "origin.json") != plan.work.origin:
        raise MissingInput(
            f"a worker on {platform.node()} does not see the run's folder "
            f"{str(plan.work.folder)!r}; write to a disk that all of them share"
        )
