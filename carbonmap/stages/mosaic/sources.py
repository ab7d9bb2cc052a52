"""Scenes as a composition reads them: a tile of one, its surroundings, its lattice samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from carbonmap import progress
from carbonmap.composite import Candidate, Preference
from carbonmap.grid import Grid
from carbonmap.harmonise import Harmonising, Harmony, solve
from carbonmap.io import scenes, store
from carbonmap.io.scenes import STEPS
from carbonmap.io.store import WholeArray
from carbonmap.overlaps import Samples, join, lattice_step, sample
from carbonmap.quality import Quality, QualityBits, has
from carbonmap.stages.common import ahead
from carbonmap.stages.mosaic.plan import Plan
from carbonmap.types import Floats

DEPTH = 8
"""Scenes over one place, on average, that are sampled as densely as one; where more lie over each
other the lattice is wider, so that all samples together stay within 130 MB."""


@dataclass(frozen=True)
class Sources:
    """The scenes of a plan, open for reading.

    Args:
        plan: what they are.
        arrays: image and quality of each.
    """

    plan: Plan
    arrays: tuple[tuple[WholeArray, WholeArray], ...]

    def candidates(
        self, part: Grid, preference: Preference, harmony: Harmony | None
    ) -> Iterator[Candidate]:
        """The scenes that reach a tile, one at a time."""
        days = self.plan.days
        for number, info in enumerate(self.plan.infos):
            if info.grid.intersection(part) is None:
                continue
            halo = preference.halo
            quality = self._quality(number, part.padded(halo))
            core = quality[halo : halo + part.height, halo : halo + part.width]
            if has(core, Quality.OUTSIDE).all():
                continue
            image = harmonised(self._image(number, part), number, harmony)
            yield Candidate(number, image, quality, days[number], info.view_over(part))

    def _quality(self, number: int, wide: Grid) -> QualityBits:
        """Of a scene; outside where it does not reach, 0 beyond the region."""
        info, region = self.plan.infos[number], self.plan.grid
        out = np.zeros(wide.shape, np.uint8)
        inside, held = wide.intersection(region), wide.intersection(info.grid)
        assert inside is not None  # asked for around tiles of the region that the scene reaches
        assert held is not None
        out[wide.roi_of(inside)] = int(Quality.OUTSIDE)
        out[wide.roi_of(held)] = self.arrays[number][1][info.grid.roi_of(held)]
        return out

    def _image(self, number: int, part: Grid) -> Floats:
        """Of a scene, ``(band, row, col)``; NaN where it does not reach."""
        info = self.plan.infos[number]
        out = np.full((len(info.bands), *part.shape), np.nan, np.float32)
        held = part.intersection(info.grid)
        assert held is not None  # asked for where the scene reaches
        out[:, *part.roi_of(held)] = self.arrays[number][0][:, *info.grid.roi_of(held)]
        return out


def open_sources(plan: Plan) -> Sources:
    """The scenes of a plan for reading.

    Raises:
        CorruptData: one has lost a file; when it is read: one is damaged.
    """
    return Sources(plan, tuple(scenes.open_scene(folder) for folder in plan.folders))


def harmonised(image: Floats, number: int, harmony: Harmony | None) -> Floats:
    """A scene's image as it enters the composition.

    Values that were moved are kept in the steps of those that scenes have, without which an image
    takes twice the room on the disk.
    """
    if harmony is None:
        return image
    moved = harmony.apply(number, image)
    moved *= np.float32(STEPS)
    np.round(moved, out=moved)
    moved /= np.float32(STEPS)
    return moved


def harmonise(sources: Sources, how: Harmonising, threads: int) -> Harmony:
    """Gains and offsets of the scenes, from their clear pixels on the region's lattice."""
    infos, region = sources.plan.infos, sources.plan.grid
    step = lattice_step(max(region.size, sum(i.grid.size for i in infos) // DEPTH))
    parts = [
        (number, roi)
        for number, info in enumerate(infos)
        for roi in store.chunk_rois(info.grid.shape, sources.arrays[number][0].chunks)
    ]

    def one(part: tuple[int, tuple[slice, slice]]) -> tuple[int, Samples]:
        number, roi = part
        image, quality = sources.arrays[number]
        first = infos[number].grid[roi]
        flags = quality[roi]
        if flags.all():  # no pixel is clear
            return number, join([], len(infos[number].bands))
        return number, sample(image[:, *roi], flags, first.row, first.col, step)

    held: list[list[Samples]] = [[] for _ in infos]
    for number, samples in progress.track(ahead(one, parts, threads), "comparing", len(parts)):
        held[number].append(samples)
    return solve([join(s, len(i.bands)) for s, i in zip(held, infos, strict=True)], how)
