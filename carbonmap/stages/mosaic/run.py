"""One image a period: planned, harmonised, composed block by block, read back, declared whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carbonmap import progress
from carbonmap.composite import NO_SOURCE, Composite, Preference, compose
from carbonmap.cores import cpu_threads
from carbonmap.errors import InputError
from carbonmap.grid import Grid
from carbonmap.harmonise import Harmony
from carbonmap.io import composed, output, stac, store
from carbonmap.io.composed import Draft
from carbonmap.io.output import Existing, Work
from carbonmap.io.store import WholeArray
from carbonmap.seams import HALO_PX, Steps, seam_steps
from carbonmap.stages import blocks as blocks_
from carbonmap.stages.blocks import Chunk, Roi
from carbonmap.stages.common import Report, ahead, require_space
from carbonmap.stages.ingest import replace_folder
from carbonmap.stages.mosaic import report as report_
from carbonmap.stages.mosaic.plan import MosaicOptions, Plan, plans
from carbonmap.stages.mosaic.sources import Sources, harmonise, open_sources
from carbonmap.types import Json

HARMONY, STEP = "harmony", "composed"
"""Their lines of the journal."""


def mosaic(
    archive: Path,
    region: str,
    grid: Grid,
    periods: Sequence[str],
    options: MosaicOptions,
    *,
    existing: Existing = Existing.REFUSE,
    threads: int | None = None,
) -> Report:
    """The scenes of each period as one image of the archive, with its lineage.

    An image is known by its scenes and the options: it is up to date until one of them changes.

    Args:
        archive: its folder.
        region: name of the region.
        grid: the region's.
        periods: months, days or ranges of days.
        options: how scenes are composed.
        existing: what to do about an image of that day made otherwise.
        threads: blocks under way at a time; None takes every core.

    Raises:
        MissingInput: a period has no scene.
        InputError: scenes do not go together, or none has a usable pixel.
        CorruptData: a scene is damaged.
        OutputExists: the image is there, of other scenes or options.
    """
    todo = plans(archive, region, grid, periods)
    cores = threads or cpu_threads()
    made = [_mosaic(archive / region, plan, options, existing, cores) for plan in todo]
    stac.refresh(archive)
    return Report("\n".join(map(str, made)), {"mosaics": [one.data for one in made]})


def _mosaic(
    folder: Path, plan: Plan, options: MosaicOptions, existing: Existing, threads: int
) -> Report:
    """One period's image."""
    home = folder / plan.layer.name
    mark = home / "layer.json"
    with output.claim(mark, plan.origin(options), existing, by_size=True) as work:
        if work is None:
            return Report(
                f"{home} is up to date", {"layer": plan.layer.name, "state": "up to date"}
            )
        require_space(work, plan.grid, len(plan.layer.bands) + 1)  # and source and quality
        facts = _fill(work, plan, options, threads)
        plan.require_unchanged()
        work.begin_publishing()
        replace_folder(work.folder / "data.zarr", home / "data.zarr")
        products = [p for p in sorted((home / "data.zarr").rglob("*")) if p.is_file()]
        work.finish(products, facts)
    return Report(report_.text(home, facts), {"state": "written", "path": str(home), **facts})


def _fill(work: Work, plan: Plan, options: MosaicOptions, threads: int) -> Json:
    """Compose what an earlier run did not finish; returns the report."""
    sources = open_sources(plan)
    told = _harmony(work, sources, options, threads)
    harmony = None if told is None else report_.harmony_of(told)
    folder = work.folder / "data.zarr"
    draft = composed.create(folder, plan.layer)
    blocks = store.chunk_rois(plan.grid.shape, draft.image.chunks)
    todo = blocks_.left(work, folder, STEP, blocks)

    def one(roi: Roi) -> tuple[str, Json]:
        made = compose_block(sources, roi, options.preference, harmony)
        written = blocks_.write(folder, _chunks(draft, roi, made))
        return blocks_.key_of(STEP, roi), written | report_.block_facts(made)

    done = ahead(one, todo, threads)
    for name, facts in progress.track(done, f"composing {plan.period}", len(todo)):
        work.record(name, facts)
    held = [work.done[blocks_.key_of(STEP, roi)] for roi in blocks]
    if not any(facts["used"] for facts in held):
        raise InputError(
            f"the {len(plan.infos)} scenes of {plan.period} have no usable pixel in the region; "
            f"name other dates, or see `carbonmap ingest gf1 --json` for what is wrong with them"
        )
    steps = _seams(plan, folder, blocks, threads)
    return report_.facts(plan, held, told, steps)


def _harmony(work: Work, sources: Sources, options: MosaicOptions, threads: int) -> Json | None:
    """Gains and offsets, from the journal where an earlier run found them; None where none are.

    They always come as the journal has them, so that a resumed run continues the same image.
    """
    if not options.harmonise or len(sources.plan.infos) == 1:
        return None
    if HARMONY not in work.done:
        work.record(HARMONY, harmonise(sources, options.harmonising, threads).to_json())
    return work.done[HARMONY]


def compose_block(
    sources: Sources, roi: Roi, preference: Preference, harmony: Harmony | None
) -> Composite:
    """The best pixels of one block of the region."""
    plan = sources.plan
    part = plan.grid[roi]
    candidates = sources.candidates(part, preference, harmony)
    return compose(candidates, len(plan.layer.bands), part.shape, preference)


def _chunks(draft: Draft, roi: Roi, made: Composite) -> list[Chunk]:
    """A composed block as the chunks of its arrays."""
    bands = [Chunk(draft.image, number, roi, band) for number, band in enumerate(made.values)]
    source = Chunk(draft.source, None, roi, made.source)
    return [*bands, source, Chunk(draft.quality, None, roi, made.quality)]


def _seams(plan: Plan, folder: Path, blocks: Sequence[Roi], threads: int) -> Steps:
    """Steps across the borders between scenes and beside them, of the image as it was written."""
    image, source, _ = composed.open_whole(folder)

    def one(roi: Roi) -> Steps:
        return block_steps(image, source, plan.grid, roi)

    bands = np.zeros(len(plan.layer.bands))
    done = progress.track(ahead(one, blocks, threads), "reading back", len(blocks))
    return sum(done, Steps(bands, 0, bands, 0))


def block_steps(image: WholeArray, source: WholeArray, grid: Grid, roi: Roi) -> Steps:
    """A block's part of the steps; bands are read only where scenes meet."""
    wide = grid[roi].padded(HALO_PX)
    held = wide.intersection(grid)
    assert held is not None  # a block lies in its region
    there, here = wide.roi_of(held), grid.roi_of(held)
    known = np.full(wide.shape, NO_SOURCE, np.uint16)
    known[there] = source[here]
    values = np.full((image.shape[0], *wide.shape), np.nan, np.float32)
    if np.unique(known[known != NO_SOURCE]).size > 1:
        values[:, *there] = image[:, *here]
    return seam_steps(values, known, HALO_PX)
