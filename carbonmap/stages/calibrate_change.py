"""`calibrate --change`: how far a model's map of change errs, found on simulated change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from carbonmap import fields
from carbonmap.change import (
    LOSS,
    NONE,
    SQUARE_PX,
    ChangeError,
    Exchange,
    found,
    grain,
    light,
    regrained,
)
from carbonmap.correlation import Residuals, averaged
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, output
from carbonmap.io.output import Existing
from carbonmap.metrics import SSIM_RADIUS
from carbonmap.models.protocol import maps
from carbonmap.project import Project
from carbonmap.stages import drawing
from carbonmap.stages.common import Report
from carbonmap.stages.compare.judge import Ground, ground_of
from carbonmap.stages.comparison import CORE
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.job import job_of, require_same
from carbonmap.stages.scope import STATIC
from carbonmap.types import Bands, Bool, Floats, Json, Raster

IMAGES = 4
"""Second images that are simulated; even, see `change.light`."""

LIGHT_ERROR = 0.03
"""Of a second image's bands: an assumption, since no image tells how far its calibration and its
correction for the air are off. Calibrations of two sensors differ by 5 % and more; images that were
brought to each other agree to 1 or 2 %."""

KEPT_PX = 300_000
"""Pixels of simulated change by which z and b are found, chosen by lots of their places."""

SMOOTHEST = 0.1
"""Share of the squares whose noise is below what counts as the image's: texture adds to it."""

LEAST_MOVED = 1000
"""Pixels of simulated change, from which it is told."""

LARGE = 50.0
"""Mg C/ha, of a true change that a map should show."""


def calibrate_change(
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
    light_error: float | None = None,
) -> Report:
    """Find and keep, in the model's folder, how far a map of change by this model errs.

    On stands that were held out, the model maps the image that it knows and `IMAGES` second ones:
    in other light (`change.light`), half of their squares exchanged (`change.Exchange`).

    Args:
        project: settings of the model's split.
        region: name of the region in the archive.
        grid: the region's.
        dates: periods; every image of the archive in one of them is used.
        labels: that the model learned from.
        model_folder: what `train` wrote.
        mask: forest mask, the one that the model learned with.
        existing: what to do about errors found otherwise.
        samples: draws of a map; the model's own if None.
        steps: of a diffusion's sampler, likewise.
        device: that computes; the CPU if None.
        light_error: relative error of an image's band, in place of `LIGHT_ERROR`.

    Raises:
        ModelError: the model has seen what is held out here, or too little is.
    """
    error = LIGHT_ERROR if light_error is None else light_error
    drawn = drawing.drawn(model_folder, project.output.threads, samples, steps, device)
    job = job_of(project, region, grid, dates, labels, mask)
    require_same(model_folder.name, model_folder, drawn.loaded.card, job)
    mark = drawing.change_mark(model_folder, drawn.told)
    shared = {k: v for k, v in job.origin.items() if k != "model"}
    origin = shared | {
        "stage": "calibrate-change",
        "model": drawn.loaded.sha256,
        "drawing": drawn.told,
        "light_error": error,
    }
    with output.claim(mark, origin, existing) as work:
        if work is None:
            facts = (files.read_json(mark) or {})["report"]
            return Report(f"{mark} is up to date\n{_text(facts)}", facts)
        facts = _facts(drawn, ground_of(job), error)
        facts |= {"region": region, "dates": list(job.days), "light_error": error, **drawn.told}
        facts["layers"] = list(drawn.loaded.model.layers)
        work.begin_publishing()
        work.finish([], facts)
    return Report(f"{mark}\n{_text(facts)}", facts)


class _Seen:
    """Pixels of simulated change, at most about `KEPT_PX`: lot, moved, before, after, and truth."""

    def __init__(self) -> None:
        self.table = np.empty((0, 5))

    def add(self, part: Grid, number: int, columns: Floats, known: Bool) -> None:
        """Take in a tile's pixels that are known."""
        lots = fields.uniform(*fields.places(part), fields.field_key(number, "changed"))
        new = np.column_stack([lots[known], *columns[:, known]])
        joined = np.concatenate([self.table, new])
        self.table = joined[np.argsort(joined[:, 0], kind="stable")[:KEPT_PX]]


def _facts(drawn: Drawn, ground: Ground, light_error: float) -> Json:
    grid = ground.sampler.grid
    noise = _noise(drawn, ground)
    own, still, seen = Residuals(grid), [Residuals(grid) for _ in range(IMAGES)], _Seen()
    for wide, layers, truth in ground.parts(drawn.loaded.model):
        part, height = wide.padded(-SSIM_RADIUS), _height(drawn, layers)
        first = _mapped(drawn, wide, layers, truth)
        own.add(part, first[CORE], (truth - first)[CORE])
        for number, one in enumerate(still):
            exchange = Exchange.of(wide, np.isfinite(truth), number, height)
            again = _again(drawn, wide, layers, exchange, number, light_error, noise)
            second = _mapped(drawn, wide, again, truth)
            true = exchange.shown(truth) - truth
            known = np.isfinite(true + first + second)
            change = np.where(known & exchange.stays, first - second, np.nan)
            one.add(part, ((first + second) / 2)[CORE], change[CORE])
            columns = np.stack([exchange.moved, first, second, true])
            counted = known & (exchange.moved | exchange.stays)
            seen.add(part, number, columns[:, *CORE], counted[CORE])
    of_maps, of_still = own.structure(), [one.structure() for one in still]
    known_still = [one for one in of_still if one is not None]
    _, moved, first, second, true = seen.table.T
    if of_maps is None or len(known_still) < IMAGES or moved.sum() < LEAST_MOVED:
        raise ModelError(
            f"too little land is held out for simulated change ({moved.sum():,.0f} pixels of it, "
            f"{len(moved):,} that stay): a square needs {SQUARE_PX} × {SQUARE_PX} pixels, and a "
            f"change {LEAST_MOVED:,} pixels; hold out more by model.split.validation_share, in "
            f"larger blocks"
        )
    return _told(found(averaged(known_still), of_maps, moved > 0, first, second, true), seen.table)


def _mapped(drawn: Drawn, wide: Grid, layers: Bands, truth: Raster) -> Floats:
    """The map of a tile, as `predict` makes it."""
    found_ = maps(drawn.loaded.model, layers, wide, drawn.samples, np.isfinite(truth))
    return np.asarray(found_.mean(0, dtype=np.float64))


def _height(drawn: Drawn, layers: Bands) -> Raster | None:
    """Heights of a tile, where the model reads them."""
    if "elevation" not in layers:
        return None
    halo = drawn.loaded.model.halo
    values = layers["elevation"]
    return values[halo : values.shape[0] - halo, halo : values.shape[1] - halo]


def _noise(drawn: Drawn, ground: Ground) -> dict[str, float]:
    """Of the image's bands, by the smoothest squares of the land that is held out."""
    model = drawn.loaded.model
    found: dict[str, list[Floats]] = {name: [] for name in model.layers if name not in STATIC}
    for wide, layers, _ in ground.parts(model):
        for name, values in found.items():
            values.append(grain(wide.padded(model.halo), layers[name]))
    joined = {name: np.concatenate([*values, np.empty(0)]) for name, values in found.items()}
    return {n: float(np.quantile(v, SMOOTHEST)) if v.size else 0.0 for n, v in joined.items()}


def _again(
    drawn: Drawn,
    wide: Grid,
    layers: Bands,
    exchange: Exchange,
    number: int,
    error: float,
    noise: Mapping[str, float],
) -> dict[str, Raster]:
    """The layers of a second date."""
    halo, found_ = drawn.loaded.model.halo, dict(layers)
    for name, values in layers.items():
        if name == "elevation":
            found_[name] = exchange.heights(values, halo)
        elif name not in STATIC:
            other = regrained(wide.padded(halo), values, name, number, noise[name])
            shown = exchange.shown(other, halo) * light(name, number, error)
            found_[name] = shown.astype(np.float32)
    return found_


def _told(error: ChangeError, table: Floats) -> Json:
    """What was found, and what it is worth on the pixels that it was found on."""
    _, moved, first, second, true = table.T
    moved = moved > 0
    codes, change = error.significant(first, second), second - first
    sd = error.deviation(first, second)
    large = moved & (np.abs(true) >= LARGE)
    right = np.where(true < 0, LOSS, LOSS + 1)
    slope = float((change * true)[moved].sum() / np.square(true[moved]).sum())
    return {
        "error": error.to_json(),
        "pixels": len(table),
        "still_rms_mg_c_ha": float(np.sqrt(np.square(change[~moved]).mean())),
        "moved_rms_mg_c_ha": float(np.sqrt(np.square(change - true)[moved].mean())),
        "shown_of_change": slope,
        "significant_of_still": float((codes[~moved] != NONE).mean()),
        "significant_of_large": float((codes == right)[large].mean()) if large.any() else None,
        "within_two_sd": float((np.abs(change - true) <= 1.96 * sd)[moved].mean()),
    }


def _text(facts: Json) -> str:
    large = facts["significant_of_large"]
    seen = (
        "" if large is None else f", of which {large:.0%} is significant from {LARGE:g} Mg C/ha on"
    )
    return (
        f"land that stayed as it was, in another light: maps differ by "
        f"{facts['still_rms_mg_c_ha']:.1f} Mg C/ha (RMS); what lies beyond 95 % of that is a "
        f"significant change\n"
        f"  simulated change: {facts['shown_of_change']:.0%} of it is shown{seen}; it errs by "
        f"{facts['moved_rms_mg_c_ha']:.1f} Mg C/ha (RMS), {facts['within_two_sd']:.0%} of it by "
        f"less than 1.96 standard deviations as told"
    )
