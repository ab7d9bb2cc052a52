"""Images: what a satellite sees of the stands, the ground between them, the light and the sky."""

from __future__ import annotations

import numpy as np

from carbonmap.fields import field_key, normal, places, smooth
from carbonmap.grid import Grid
from carbonmap.landscape.canopy import clumping
from carbonmap.landscape.county import County, Season
from carbonmap.landscape.cover import Cover, cover
from carbonmap.landscape.inventory import Stands, stands
from carbonmap.landscape.light import cast_shadows, sunlight
from carbonmap.landscape.mesh import mesh
from carbonmap.landscape.sky import OVERHEAD, Lean, clouds, shadows
from carbonmap.landscape.species import BANDS, SPECIES
from carbonmap.types import Floats, Raster

SATURATION_M3_HA = 90.0
"""Volume at which crown shadow has reached 1 − 1/e of its most; optical images saturate near
100–150 m³ ha⁻¹."""

CROWN_SHADE = (0.45, 0.42, 0.50, 0.38)
"""Share of a closed old canopy's light lost to shadow between crowns, by band."""

SOIL = (0.070, 0.105, 0.165, 0.240)
"""Red earth of the Yunnan plateau, reflectance by band."""

HERBS = (0.042, 0.085, 0.060, 0.360)
"""Green herbs and crops, reflectance by band."""

SKY_LIGHT = (0.35, 0.26, 0.20, 0.12)
"""Share of the light on level land that comes from the sky and not the sun: more at short waves."""

CLOUD = 0.62
"""Mean reflectance of clouds, all bands."""

SHADOW = (0.55, 0.45, 0.38, 0.32)
"""Light left in a cloud's shadow, by band."""


def image(grid: Grid, county: County, season: str) -> dict[str, Raster]:
    """Surface reflectance (0–1) of a month by band (`BANDS`), float32, shape ``(row, col)``.

        ρ = [F ρ_leaf (1 − s g) + (1 − F − L s g) ρ_ground] · [d + (1 − d) max(cos i, 0) / cos θ_z]

    and noise, with F the share of leafy crowns and L of leafless ones (together the closure), s the
    crown shadow (saturating with visible volume), g the clumping and d the sky's share of light;
    mixed by area where stands meet.
    The light of slopes is left in, as in an uncorrected image. Clouds are bright and their shadows
    dark, never NaN: `clouds` and `shadows` tell where, as a product's mask would. Nothing here
    knows the part of volume that `County.hidden_sd` sets.

    Raises:
        ConfigError: the county has no image of that month.
    """
    light = sunlight(grid, county, season)
    bands = {}
    for band, rho in _lit(grid, county, season, light).items():
        date = county.season(season).date
        noise = normal(*places(grid), field_key(county.seed, "noise", date, band))
        rho += county.sensor_noise * noise
        bands[band] = rho.clip(0, 1).astype(np.float32)
    return bands


def reflectance(grid: Grid, county: County, season: str) -> dict[str, Raster]:
    """Reflectance of the level land itself: `image` without light, shadow, cloud and noise.

    This is what a perfect correction of an image gives; float32, 0–1, shape ``(row, col)``.

    Raises:
        ConfigError: the county has no image of that month.
    """
    rho = _surface(grid, county, county.season(season))
    return {band: values.clip(0, 1).astype(np.float32) for band, values in rho.items()}


def view(grid: Grid, county: County, season: str, lean: Lean = OVERHEAD) -> dict[str, Raster]:
    """What there is to see from above the clouds but for the haze: `image` without noise.

    Where a mountain stands before the sun, the land has the sky's light alone, which `image`
    leaves out of account; see `cast_shadows`. Clouds hide what lies behind them as seen along
    `lean`. float32, 0–1, shape ``(row, col)``.

    Raises:
        ConfigError: the county has no image of that month.
    """
    light = sunlight(grid, county, season)
    light[cast_shadows(grid, county, season)] = 0
    rho = _lit(grid, county, season, light, lean)
    return {band: values.clip(0, 1).astype(np.float32) for band, values in rho.items()}


def _lit(
    grid: Grid, county: County, season: str, light: Floats, lean: Lean = OVERHEAD
) -> dict[str, Floats]:
    """The land in the sun's light, clouds over it and their shadows on it."""
    hidden, dark = clouds(grid, county, season, lean), shadows(grid, county, season)
    clumps = clumping(grid, county)
    bands = _surface(grid, county, county.season(season))
    for b, rho in enumerate(bands.values()):
        rho *= SKY_LIGHT[b] + (1 - SKY_LIGHT[b]) * light
        rho[dark] *= SHADOW[b]
        rho[hidden] = CLOUD + 0.08 * (clumps[hidden] - 1)
    return bands


def _surface(grid: Grid, county: County, when: Season) -> dict[str, Floats]:
    """Stands, and the ground between them, by band; float64."""
    shares, inventory = cover(mesh(grid, county), grid), stands(grid, county)
    clumps = clumping(grid, county)
    green = _greenness(grid, county, when, shares)
    bands: dict[str, Floats] = {}
    for b, band in enumerate(BANDS):
        crowns, lost, ground, dim = (shares.average(part) for part in _mixture(inventory, when, b))
        ground -= dim * clumps
        rho = crowns - lost * clumps + ground * (SOIL[b] + green * (HERBS[b] - SOIL[b]))
        bands[band] = rho
    return bands


def _greenness(grid: Grid, county: County, when: Season, shares: Cover) -> Floats:
    """Share of open ground under herbs and crops: the season's, each stand's own, and moisture."""
    cells = mesh(grid, county)
    own = normal(cells.row, cells.col, field_key(county.seed, "crop", when.date))
    wet = smooth(grid.y, grid.x, 350.0, field_key(county.seed, "moisture"))
    return np.clip(when.greenness + shares.average(0.2 * own) + 0.10 * wet, 0, 1)


def _mixture(inventory: Stands, when: Season, band: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each stand: light of crowns, its part lost to shadow, ground in sight, in shadow."""
    leaf = np.array([one.leaf[band] for one in SPECIES])[inventory.kind]
    fading = np.array([one.fading for one in SPECIES])[inventory.kind]
    leafless = inventory.canopy_closure * fading * (1 - when.greenness)
    crowns = inventory.canopy_closure - leafless
    shadow = CROWN_SHADE[band] * (1 - np.exp(-inventory.visible_stock / SATURATION_M3_HA))
    return crowns * leaf, crowns * leaf * shadow, 1 - crowns, leafless * shadow
