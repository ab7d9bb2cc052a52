"""`calibrate --change`: how far a model's map of change errs, found on simulated change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carbonmap import fields
from carbonmap.change import GAIN, LOSS, found
from carbonmap.correlation import Residuals, pooled
from carbonmap.errors import ConfigError, ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, output
from carbonmap.io.output import Existing
from carbonmap.metrics import SSIM_RADIUS
from carbonmap.models.protocol import maps
from carbonmap.project import Project
from carbonmap.second_image import SQUARE_PX, Exchange, grain, lights, regrained
from carbonmap.stages import drawing
from carbonmap.stages.common import Report
from carbonmap.stages.compare.judge import Ground, ground_of
from carbonmap.stages.comparison import CORE
from carbonmap.stages.drawing import Drawn
from carbonmap.stages.job import job_of, require_same
from carbonmap.stages.scope import STATIC
from carbonmap.types import Bands, Bool, Floats, Json, Raster
from carbonmap.uncertainty import Z95

EXCHANGES = 2
"""Second images in which squares have changed; besides those of other light."""

LOOKS = 2
"""Raised when it looks in another way, so that what an older one found is found anew."""

TINY = 1e-9
"""Mg C/ha, so that land without error does not divide by 0."""

LIGHT_ERROR = 0.03
"""Of a second image's bands: an assumption, since no image tells how far its calibration and its
correction for the air are off. Calibrations of two sensors differ by 5 % and more; images that were
brought to each other agree to 1 or 2 %."""

MOST_LIGHT = 0.5
"""Beyond which no image is worth a comparison."""

KEPT_PX = 300_000
"""Pixels by which z and c are found, at most, of either sort of land."""

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

    On stands that were held out, the model maps the image that it knows and second ones: in other
    light (`second_image.lights`), and with some of the squares exchanged (`Exchange`).

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
        ModelError: the model has seen what is held out here, or too little is, or a date is not
            one that it learned from.
        ConfigError: the light's error is no share.
    """
    error = LIGHT_ERROR if light_error is None else light_error
    if not 0 <= error <= MOST_LIGHT:
        raise ConfigError(
            f"--light-error is {error:g}; it must lie from 0 to {MOST_LIGHT:g}, a share of the "
            f"reflectance: 0.03 is 3 %"
        )
    drawn = drawing.drawn(model_folder, project.output.threads, samples, steps, device)
    job = job_of(project, region, grid, dates, labels, mask)
    require_same(model_folder.name, model_folder, drawn.loaded.card, job)
    learned = drawn.loaded.card.get("dates", job.days)
    if lost := [day for day in job.days if day not in learned]:
        raise ModelError(
            f"model {str(model_folder)!r} did not learn from {', '.join(lost)}, and the labels may "
            f"not be of that day; give --dates {','.join(learned)}"
        )
    mark = drawing.change_mark(model_folder, drawn.told)
    shared = {k: v for k, v in job.origin.items() if k != "model"}
    origin = shared | {
        "stage": "calibrate-change",
        "looks": LOOKS,
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


class _Kept:
    """Pixels, at most about `KEPT_PX`, chosen by lots of their places: a lot, then columns."""

    def __init__(self, columns: int) -> None:
        self.table = np.empty((0, 1 + columns))

    def add(self, part: Grid, number: int, columns: Floats, known: Bool) -> None:
        """Take in a tile's pixels that are known; `number` tells images apart."""
        lots = fields.uniform(*fields.places(part), fields.field_key(number, "changed"))
        joined = np.concatenate([self.table, np.column_stack([lots[known], *columns[:, known]])])
        self.table = joined[np.argsort(joined[:, 0], kind="stable")[:KEPT_PX]]


def _facts(drawn: Drawn, ground: Ground, light_error: float) -> Json:
    noise = _noise(drawn, ground)
    bands = list(noise)
    light = [dict(zip(bands, row, strict=True)) for row in lights(len(bands), light_error)]
    grid = ground.sampler.grid
    own, still = [Residuals(grid) for _ in ground.stacks], list[Residuals]()
    stayed, moved = _Kept(1 + len(light)), _Kept(3)
    for day, stack in enumerate(ground.stacks):
        again = [Residuals(grid) for _ in light]
        still += again
        for wide, layers, truth in dataclasses.replace(ground, stacks=[stack]).parts(
            drawn.loaded.model
        ):
            tile = _Tile(drawn, wide, layers, truth, noise)
            part, first = wide.padded(-SSIM_RADIUS), tile.map()
            own[day].add(part, first[CORE], (truth - first)[CORE])
            seen = []
            for number, one in enumerate(light):
                second = tile.map(one, number)
                change = np.where(np.isfinite(truth), first - second, np.nan)
                again[number].add(part, ((first + second) / 2)[CORE], change[CORE])
                seen.append(second)
            columns = np.stack([first, *seen])[:, *CORE]
            known = np.isfinite(columns.sum(0) + truth[CORE])
            stayed.add(part, day, columns, known)
            for number in range(EXCHANGES):
                exchange = Exchange.of(wide, np.isfinite(truth), number, tile.height)
                second = tile.map(light[number % len(light)], len(light) + number, exchange)
                true = exchange.shown(truth) - truth
                columns = np.stack([first, second, true])[:, *CORE]
                known = np.isfinite(columns.sum(0)) & exchange.moved[CORE]
                moved.add(part, day * EXCHANGES + number, columns, known)
    return _told(own, still, stayed.table[:, 1:], moved.table[:, 1:]) | {"noise": noise}


@dataclass(frozen=True)
class _Tile:
    """A tile of held-out land as the model may see it."""

    drawn: Drawn
    wide: Grid
    layers: Bands
    truth: Raster
    noise: Mapping[str, float]

    @property
    def height(self) -> Raster | None:
        """Heights of the tile, where the model reads them."""
        if "elevation" not in self.layers:
            return None
        halo = self.drawn.loaded.model.halo
        return self.layers["elevation"][tuple(slice(halo, halo + n) for n in self.wide.shape)]

    def map(
        self,
        light: Mapping[str, float] | None = None,
        number: int = 0,
        exchange: Exchange | None = None,
    ) -> Floats:
        """The map of the image that is there, or of a second one.

        Args:
            light: by how much the second one's bands are lighter.
            number: of the second one, by which its noise is drawn.
            exchange: squares that have changed in it.
        """
        model, layers = self.drawn.loaded.model, self.layers
        if light is not None:
            layers = self._again(light, number, exchange)
        found_ = maps(model, layers, self.wide, self.drawn.samples, np.isfinite(self.truth))
        return np.asarray(found_.mean(0, dtype=np.float64))

    def _again(
        self, light: Mapping[str, float], number: int, exchange: Exchange | None
    ) -> dict[str, Raster]:
        halo, found_ = self.drawn.loaded.model.halo, dict(self.layers)
        around = self.wide.padded(halo)
        for name, values in self.layers.items():
            if name in self.noise:
                other = regrained(around, values, name, number, self.noise[name])
                shown = exchange.shown(other, halo) if exchange else other
                found_[name] = (shown * light[name]).astype(np.float32)
            elif name == "elevation" and exchange:
                found_[name] = exchange.heights(values, halo)
        return found_


def _noise(drawn: Drawn, ground: Ground) -> dict[str, float]:
    """Of the image's bands, by the smoothest squares of tiles where land is held out.

    Raises:
        ModelError: no square tells of it.
    """
    model = drawn.loaded.model
    found_: dict[str, list[Floats]] = {name: [] for name in model.layers if name not in STATIC}
    for wide, layers, _ in ground.parts(model):
        for name, values in found_.items():
            values.append(grain(wide.padded(model.halo), layers[name]))
    joined = {name: np.concatenate([np.empty(0), *values]) for name, values in found_.items()}
    if lost := [name for name, values in joined.items() if not values.size]:
        raise ModelError(
            f"how noisy band {', '.join(lost)} is cannot be told: no square of {SQUARE_PX} × "
            f"{SQUARE_PX} pixels near held-out land is half without gaps; give another date"
        )
    return {name: float(np.quantile(values, SMOOTHEST)) for name, values in joined.items()}


def _told(
    own: Sequence[Residuals], still: Sequence[Residuals], stayed: Floats, moved: Floats
) -> Json:
    """What was found, and what it is worth on the pixels that it was found on.

    Raises:
        ModelError: too little land tells of it, or the maps are all alike.
    """
    before, again = stayed[:, :1], stayed[:, 1:]
    if len(stayed) and not (again != before).any():
        raise ModelError(
            "the maps of a second image are all alike, so that any change would be significant: "
            "the model reads no image, or its bands have neither noise nor --light-error"
        )
    of_maps, of_still = pooled(own), pooled(still)
    if of_maps is None or of_still is None or len(moved) < LEAST_MOVED:
        raise ModelError(
            f"too little land is held out for simulated change ({len(moved):,} pixels of it, "
            f"{len(stayed):,} in all): a square needs {SQUARE_PX} × {SQUARE_PX} pixels, and a "
            f"change {LEAST_MOVED:,}; hold out more by model.split.validation_share or in larger "
            f"blocks, and train again"
        )
    ratio = (again - before) / np.maximum(of_still.sigma((again + before) / 2), TINY)
    first, second, true = moved.T
    error = found(of_still, of_maps, np.sqrt(np.square(ratio).mean(1)), first, second, true)
    codes, change = error.significant(first, second), second - first
    large, right = np.abs(true) >= LARGE, np.where(true < 0, LOSS, GAIN)
    sd = error.deviation(first, second)
    return {
        "error": error.to_json(),
        "pixels": len(moved),
        "still_rms_mg_c_ha": float(np.sqrt(np.square(again - before).mean())),
        "moved_rms_mg_c_ha": float(np.sqrt(np.square(change - true).mean())),
        "shown_of_change": float((change * true).sum() / np.square(true).sum()),
        "significant_of_large": float((codes == right)[large].mean()) if large.any() else None,
        "within_interval": float((np.abs(change - true) <= Z95 * sd).mean()),
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
        f"{facts['moved_rms_mg_c_ha']:.1f} Mg C/ha (RMS), {facts['within_interval']:.0%} of it by "
        f"less than 1.96 standard deviations as told"
    )
