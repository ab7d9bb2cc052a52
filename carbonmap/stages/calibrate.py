"""`calibrate`: how far a model's interval must reach, found on land that it never learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.intervals import LEVEL, QUANTILES_FROM
from carbonmap.intervals import calibrate as least_k
from carbonmap.io import files, output
from carbonmap.io.output import Existing
from carbonmap.metrics import SSIM_RADIUS
from carbonmap.models.protocol import maps
from carbonmap.project import Project
from carbonmap.stages import drawing
from carbonmap.stages.common import Report
from carbonmap.stages.compare.facts import interval_facts
from carbonmap.stages.compare.judge import Ground, Pixels, ground_of, pixels_of
from carbonmap.stages.comparison import CORE
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.job import job_of, require_same
from carbonmap.types import Json


def calibrate(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    labels: Path,
    model_folder: Path,
    *,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
    samples: int | None = None,
    steps: int | None = None,
    device: str | None = None,
) -> Report:
    """Find and keep, in the model's folder, by how much an interval of so many draws is widened.

    An interval reaches ``k`` times as far from the draws' mean as the draws themselves do
    (`intervals.sides`), with the least k that holds 90 % of the labels of stands held out: split
    conformal regression with a normalised score (Lei et al. 2018). It is told too what share an
    interval holds whose k was found on the other half of that land, with its error by blocks.

    Args:
        project: settings of the model's split.
        region: name of the region in the archive.
        grid: the region's.
        dates: periods; every image of the archive in one of them is drawn on.
        labels: that the model learned from.
        model_folder: what `train` wrote.
        mask: forest mask, the one that the model learned with.
        existing: what to do about an interval found otherwise.
        samples: draws of a map; the model's own if None.
        steps: of a diffusion's sampler, likewise.
        device: that computes; the CPU if None.

    Raises:
        ModelError: the model does not draw, or draws once, or has seen what is held out here, or
            no k holds the share.
    """
    drawn = drawing.drawn(model_folder, project.output.threads, samples, steps, device)
    if drawn.samples < 2:
        raise ModelError(
            f"model {str(model_folder)!r} makes one map alike every time, or one draw, from which "
            f"no interval follows; give a model that draws, and --samples 2 or more"
        )
    job = job_of(project, region, grid, dates, labels, mask)
    require_same(model_folder.name, model_folder, drawn.loaded.card, job)
    mark = drawing.interval_mark(model_folder, drawn.told)
    shared = {k: v for k, v in job.origin.items() if k != "model"}
    origin = shared | {"stage": "calibrate", "model": drawn.loaded.sha256, "drawing": drawn.told}
    with output.claim(mark, origin, existing) as work:
        if work is None:
            facts = (files.read_json(mark) or {})["report"]
            return Report(f"{mark} is up to date\n{_text(facts)}", facts)
        facts = _facts(drawn, ground_of(job))
        facts |= {"region": region, "dates": list(job.days)}
        work.begin_publishing()
        work.finish([], facts)
    return Report(f"{mark}\n{_text(facts)}", facts)


def _facts(drawn: Drawn, ground: Ground) -> Json:
    pixels, model, count = Pixels(), drawn.loaded.model, drawn.samples
    for wide, layers, truth in ground.parts(model):
        found = maps(model, layers, wide, count, np.isfinite(truth))[:, *CORE]
        pixels += pixels_of(found, truth[CORE], wide.padded(-SSIM_RADIUS), ground)
    held, truth = pixels.sides, pixels.column("truth")
    return {
        "level": LEVEL,
        "k": least_k(held.mean, held.towards(truth), truth),
        "reach": "quantiles" if count >= QUANTILES_FROM else "standard deviation",
        **drawn.told,
        "on_the_other_half": interval_facts(pixels),
        "chosen_on_validation": bool(drawn.loaded.card.get("chosen_on_validation")),
    }


def _text(facts: Json) -> str:
    other = facts["on_the_other_half"]
    told = (
        f"k = {facts['k']:.3g} times the {facts['reach']} of {facts['samples']} draws hold "
        f"{facts['level']:.0%} of the labels held out"
    )
    if facts["chosen_on_validation"]:
        told += (
            "\n  warning: these blocks chose when training stopped, so the interval is too short"
        )
    if other["k"] is None:
        return f"{told}; nothing judges it: {other['why']}"
    boot = other["bootstrap"]
    error = f" ± {100 * boot['standard_error']:.1f}" if boot else ""
    share, wide = 100 * other["coverage"], other["width_mg_c_ha"]
    return (
        f"{told}\n  found on half of that land and judged on the other: {share:.1f}{error} % of "
        f"{other['pixels']:,} pixels, {wide:.1f} Mg C/ha wide"
    )
