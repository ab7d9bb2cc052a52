"""A scene judged as a whole, from its histogram and its block means: haze and light."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from carbonmap import config, radiometry, topography
from carbonmap.atmosphere import Coefficients, coefficients, estimate_aod, surface
from carbonmap.calibration import Calibration, calibrate
from carbonmap.clouds import FACTOR, reduce
from carbonmap.darkobject import dark_object, subtract_haze
from carbonmap.features import BANDS
from carbonmap.gf1 import Scene
from carbonmap.grid import Grid
from carbonmap.io import store
from carbonmap.io.scenes import Placed
from carbonmap.sixs import parse_table
from carbonmap.stages.common import ahead
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.stages.gf1.raw import Placing, Scan
from carbonmap.topography import LightSums, Relief
from carbonmap.types import Bool, Floats, Json, Raster

GREEN_NDVI = 0.3
"""NDVI of land from which the light's effect is learnt: plants, whose reflectance varies least with
where on a slope they stand."""

TROPIC_DEG = 23.4
"""Latitude of the tropics."""

WARM_MONTHS = range(4, 10)
"""April to September: the northern half year of the summer atmosphere."""

DIM = 0.1
"""Mean cos i of a block below which hardly any sun reaches it; such blocks prove no cloud."""


Cloudy = Callable[[tuple[slice, slice]], Bool]
"""Which block means of a part of the scene are not of clear land."""


@dataclass(frozen=True)
class Optics:
    """From counts to reflectance at the top of the atmosphere.

    Args:
        calibration: of the scene.
        distance: from the Earth to the sun, AU.
    """

    calibration: Calibration
    distance: float

    def toa(self, counts: Floats, sun_zenith: Raster | float) -> Floats:
        """Reflectance ``(band, row, col)``, float32; NaN stays NaN."""
        light = radiometry.radiance(counts, self.calibration)
        return radiometry.toa_reflectance(light, self.calibration.esun, self.distance, sun_zenith)


def optics_of(scene: Scene, options: SceneOptions) -> Optics:
    """The calibration of a scene's sensor and year, and its day's sun."""
    table = config.builtin("gf1_wfv")
    found = calibrate(
        table, scene.sensor, scene.acquired.year, gain=options.gain, bias=options.bias
    )
    return Optics(found, radiometry.earth_sun_distance(scene.acquired.date()))


@dataclass(frozen=True)
class Air:
    """What stands between the land and the sensor; no part of it where nothing is corrected.

    Args:
        path: path reflectance by band that dark-object subtraction takes off.
        table: coefficients of 6S.
        told: facts for the report.
        notes: sentences for it.
    """

    path: Floats | None = None
    table: Coefficients | None = None
    told: Json = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def surface(self, toa: Floats, placing: Placing, grid: Grid, step: int = 1) -> Floats:
        """Reflectance of the surface, ``(band, row, col)``.

        Args:
            toa: above the atmosphere, of every pixel or of block means.
            placing: the scene's.
            grid: the pixels.
            step: pixels along a block of the means.
        """
        if self.table is None:
            return toa if self.path is None else subtract_haze(toa, self.path)
        land = placing.heights.elevations(grid)
        land = land if step == 1 else reduce(land, step)
        return surface(toa, self.table, land, placing.sky.across_at(grid, step))


def air_of(
    scene: Scene,
    placing: Placing,
    optics: Optics,
    found: Scan,
    land_m: tuple[float, float],
    options: SceneOptions,
) -> Air:
    """The air over a scene by dark-object subtraction or 6S, as the options ask."""
    if options.atmosphere == "none":
        return Air(told={"atmosphere": "none"})
    zenith = placing.sky.sun_mean[0]
    ends = optics.toa(np.broadcast_to(np.array([0.0, 1.0]), (len(BANDS), 1, 2)), zenith)[:, 0]
    dark = None
    if options.atmosphere == "dos" or options.aod is None:
        dark = dark_object(found.histogram, ends[:, 1] - ends[:, 0], ends[:, 0])
    if options.atmosphere == "dos":
        assert dark is not None
        told: Json = {"atmosphere": "dos", "path_reflectance": _by_band(dark.path)}
        return Air(dark.path, None, told, dark.notes)
    table, middle = parse_table(config.builtin("atmosphere_6s")), sum(land_m) / 2
    geometries = placing.sky.geometries()
    gases = gases_of(scene.centre[1], scene.acquired.month)
    aod = options.aod
    if aod is None:
        assert dark is not None
        aod = estimate_aod(table, geometries[len(geometries) // 2], dark.toa, middle, gases)
    air = coefficients(table, geometries, aod, middle, land_m, gases)
    source = "given" if options.aod is not None else "estimated from dark land"
    told = {"atmosphere": "6s", "aod_550": aod, "aod_source": source, "aod_at_m": middle}
    return Air(None, air, told | {"gases": gases})


def gases_of(lat: float, month: int) -> str:
    """The table's atmosphere over a scene; its water vapour dims NIR by percents."""
    if abs(lat) < TROPIC_DEG:
        return "tropical"
    summer = month in WARM_MONTHS if lat > 0 else month not in WARM_MONTHS
    return "midlatitude_summer" if summer else "midlatitude_winter"


@dataclass(frozen=True)
class Light:
    """How the light of slopes is corrected.

    Args:
        c: the constant of each band, ``(band,)``; None corrects nothing.
        along_trunks: SCS+C, for trees that stand upright; else the plain C-correction.
        told: facts for the report.
    """

    c: Floats | None
    along_trunks: bool
    told: Json

    def correct(
        self, reflectance: Floats, cos_i: Raster, slope: Raster, sun_zenith: Raster
    ) -> Floats:
        """Reflectance as it would be on level land."""
        if self.c is None:
            return reflectance
        cos_slope = np.cos(slope) if self.along_trunks else 1.0
        return topography.correct(reflectance, cos_i, cos_slope, np.cos(sun_zenith), self.c)


def light_fit(
    placed: Placed,
    placing: Placing,
    optics: Optics,
    air: Air,
    cloudy: Cloudy | None,
    relief: Relief,
    options: SceneOptions,
    threads: int,
) -> Light:
    """Whether and how the light of slopes is corrected, learnt from block means of green land.

    Blocks that are `cloudy` teach nothing; None where no cloud was looked for.
    """
    flat = placing.heights.elevation is None
    if (
        options.terrain == "none"
        or flat
        or (options.terrain == "auto" and not relief.needs_correction)
    ):
        why = "no DEM" if flat else "few slopes above 10°" if options.terrain == "auto" else "off"
        return Light(None, True, {"terrain": f"none: {why}"})
    sums = LightSums.none(len(BANDS))
    rois = store.chunk_rois(placing.grid.shape, (store.CHUNK_PX, store.CHUNK_PX))

    def one(roi: tuple[slice, slice]) -> LightSums:
        return _light_sums(placed, placing, optics, air, cloudy, roi)

    for part in ahead(one, rois, threads):  # in their order, since sums round by it
        sums += part
    c = sums.fit()
    method = "c" if options.terrain == "c" else "scs+c"
    told = {"terrain": method, "c": _by_band(c), "blocks": sums.count}
    return Light(c, method == "scs+c", told)


def _light_sums(
    placed: Placed,
    placing: Placing,
    optics: Optics,
    air: Air,
    cloudy: Cloudy | None,
    roi: tuple[slice, slice],
) -> LightSums:
    grid = placing.grid[roi]
    rows, cols = (slice(s.start // FACTOR, -(-s.stop // FACTOR)) for s in roi)
    counts, cos_i = placed.means[:, rows, cols], placed.light[rows, cols]
    zenith, _ = placing.sky.sun_at(grid, FACTOR)
    land = air.surface(optics.toa(counts, zenith), placing, grid, FACTOR)
    red, nir = land[BANDS.index("red")], land[BANDS.index("nir")]
    usable: Bool = (nir - red > GREEN_NDVI * (nir + red)) & (cos_i > DIM)
    if cloudy is not None:
        usable &= ~cloudy(roi)
    return LightSums.of(land, cos_i, usable)


def _by_band(values: Floats) -> Json:
    """Numbers by band, as JSON can hold them."""
    return {b: float(v) if math.isfinite(v) else None for b, v in zip(BANDS, values, strict=True)}
