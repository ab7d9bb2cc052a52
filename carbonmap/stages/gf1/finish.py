"""The second pass over a scene: from counts on the grid to reflectance and its quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carbonmap import progress
from carbonmap.features import BANDS
from carbonmap.io import store
from carbonmap.io.output import Work
from carbonmap.io.scenes import STEPS, Placed
from carbonmap.quality import NOT_MEASURED, Quality, QualityBits, has
from carbonmap.stages import blocks as blocks_
from carbonmap.stages.blocks import Chunk
from carbonmap.stages.common import ahead
from carbonmap.stages.gf1.clouds import Clouds
from carbonmap.stages.gf1.judge import Air, Light, Optics
from carbonmap.stages.gf1.raw import Placing, flag_counts, slope_light
from carbonmap.types import Floats, Json


@dataclass(frozen=True)
class Verdict:
    """All that the second pass knows of the whole scene.

    Args:
        optics: from counts to reflectance.
        air: what stands before the land.
        light: how slopes are corrected.
        clouds: of the whole scene; None where nobody wants them.
    """

    optics: Optics
    air: Air
    light: Light
    clouds: Clouds | None


def finish(
    placing: Placing,
    placed: Placed,
    verdict: Verdict,
    out: tuple[store.Array, store.Array],
    work: Work,
    threads: int,
    name: str,
) -> Json:
    """Write every block that an earlier run did not finish.

    Returns:
        Pixels under each flag.
    """
    blocks = store.chunk_rois(placing.grid.shape, (store.CHUNK_PX, store.CHUNK_PX))
    folder = work.folder / "data.zarr"
    todo = blocks_.left(work, folder, "finished", blocks)

    def one(roi: tuple[slice, slice]) -> tuple[str, Json]:
        image, quality = finish_block(placing, placed, verdict, roi)
        parts = [Chunk(out[0], number, roi, band) for number, band in enumerate(image)]
        held = blocks_.write(folder, [*parts, Chunk(out[1], None, roi, quality)])
        facts: Json = {"flags": flag_counts(quality), "clear": int((quality == 0).sum())}
        return blocks_.key_of("finished", roi), facts | held

    done = ahead(one, todo, threads)
    for key, facts in progress.track(done, f"correcting {name}", len(todo)):
        work.record(key, facts)
    told = [work.done[blocks_.key_of("finished", b)] for b in blocks]
    names = [bit.name.lower() for bit in Quality if bit.name]
    found = {n: sum(f["flags"].get(n, 0) for f in told) for n in names}
    return found | {"clear": sum(f["clear"] for f in told)}


def finish_block(
    placing: Placing, placed: Placed, verdict: Verdict, roi: tuple[slice, slice]
) -> tuple[Floats, QualityBits]:
    """Surface reflectance ``(band, row, col)`` and quality of one block."""
    grid = placing.grid[roi]
    flags = placed.flags[roi]
    quality: QualityBits = (
        flags.copy() if verdict.clouds is None else flags | verdict.clouds.bits(roi)
    )
    measured = ~has(quality, NOT_MEASURED)
    if not measured.any():
        return np.full((len(BANDS), *grid.shape), np.nan, np.float32), quality
    zenith, _ = placing.sky.sun_at(grid)
    toa = verdict.optics.toa(placed.counts[(slice(None), *roi)], zenith)
    land = verdict.air.surface(toa, placing, grid)
    if verdict.light.c is not None:
        slope, cos_i = slope_light(placing, grid)
        cos_i[has(flags, Quality.TERRAIN_SHADOW)] = 0
        land = verdict.light.correct(land, cos_i, slope, zenith)
    rounded = np.round(land * np.float32(STEPS)) / np.float32(STEPS)
    return np.where(measured, rounded, np.float32(np.nan)), quality
