"""The air over GF-1's four bands by 6S: a small table, and its value at any place.

The table (``data/atmosphere_6s.toml``, made by ``pipelines/atmosphere_table.py``) holds smooth
parts of the answer, from which 6S's three coefficients are put together. No response curve of
WFV1–4 is open: the bands are boxes between their stated limits, 0.45–0.52, 0.52–0.59, 0.63–0.69 and
0.77–0.89 µm. Aerosols are 6S's continental kind.

Between its nodes the table misses 6S by 0.0008 in the reflectance of land (median of 160 places,
sun 10–70°, view 0–40°, AOD to 0.7), by 0.0024 at 95 % and 0.0036 at the worst, where satellite and
sun stand on one side. An AOD wrong by 0.1 does ten times as much in blue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonmap.errors import ConfigError, InputError, nearest

UNIT = 1e-5
"""Of the table's whole numbers: 6S prints five decimals."""

AIR_SCALE_KM = 8.4
"""Over which the air thins by e: what it scatters is linear in ``exp(−h / 8.4 km)``, along which
elevation is interpolated."""

LAND_M = (-500.0, 9000.0)
"""Elevations of land; numbers beyond are nodata or feet."""

ATMOSPHERE = "midlatitude_summer"
"""Default gases: right for Yunnan's warm half year; winter's drier air differs by 2 % in NIR."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """Directions as seen from the ground, radians.

    Args:
        sun_zenith: of the sun.
        view_zenith: of the satellite.
        relative_azimuth: the sun's azimuth less the satellite's, any number of turns, either sign;
            0 where both stand on the same side.
    """

    sun_zenith: float
    view_zenith: float
    relative_azimuth: float


@dataclass(frozen=True)
class Table:
    """What 6S says of the air, as smooth functions at the nodes of their axes.

    Args:
        axes: nodes by name.
        path: path reflectance without gas × (cos θ_s + cos θ_v), over band, AOD, elevation, sun,
            view, azimuth.
        depth: −ln(transmittance of scattering, one way) · cos θ, over band, AOD, elevation, zenith.
        albedo: spherical albedo, over band, AOD, elevation.
        gas: −ln(transmittance of gases, both ways), over atmosphere, band, elevation, airmass.
        atmospheres: names of the first axis of `gas`.
    """

    axes: Mapping[str, Values]
    path: Values
    depth: Values
    albedo: Values
    gas: Values
    atmospheres: tuple[str, ...]


def parse_table(raw: Mapping[str, Any]) -> Table:
    """The table from its TOML, ``config.builtin("atmosphere_6s")``.

    Raises:
        ConfigError: a part is missing, or of another size than its axes.
    """
    try:
        named, values = raw["axes"], raw["values"]
        atmospheres = tuple(named["atmosphere"])
        axes = {k: np.array(v, np.float64) for k, v in named.items() if k != "atmosphere"}
        band, air = (len(raw["bands_um"]),), (len(axes["aod_550"]), len(axes["elevation_km"]))
        sun, view, azimuth = (
            axes[f"{name}_deg"] for name in ("sun_zenith", "view_zenith", "relative_azimuth")
        )
        path = _shaped(values, "path", (*band, *air, len(sun), len(view), len(azimuth)))
        scattering = _shaped(values, "transmittance", (*band, *air, len(sun)))
        albedo = _shaped(values, "albedo", (*band, *air))
        shape = (len(atmospheres), *band, len(axes["gas_elevation_km"]), len(axes["gas_airmass"]))
        gas = _shaped(values, "gas", shape)
    except KeyError as error:
        raise ConfigError(f"the atmosphere's table has no {error}; {_ANEW}") from None
    mu_sun, mu_view = np.cos(np.radians(sun)), np.cos(np.radians(view))
    along = (mu_sun[:, None] + mu_view)[..., None]
    depth = -np.log(scattering) * mu_sun
    return Table(axes, path * along, depth, albedo, -np.log(gas), atmospheres)


def coefficients_at(
    table: Table,
    geometry: Geometry,
    aod: float,
    elevation_m: float,
    atmosphere: str = ATMOSPHERE,
) -> Values:
    """The coefficients of 6S at one place.

        x_a = 1 / (t_g T(θ_s) T(θ_v)),   x_b = ρ_path x_a,   x_c = S        Vermote et al. 1997

    with gas transmittance ``t_g``, scattering transmittance ``T``, path reflectance and spherical
    albedo ``S``, each by the polynomial through the table's nodes on every axis.

    Args:
        table: from `parse_table`.
        geometry: sun and view.
        aod: aerosol optical depth at 550 nm of the air above this ground.
        elevation_m: of the ground; past the table's ends, the air at its end.
        atmosphere: whose gases, one of the table's.

    Returns:
        Shape ``(3, band)``.

    Raises:
        InputError: an angle, the AOD or the elevation is out of range.
        ConfigError: there is no such atmosphere.
    """
    if atmosphere not in table.atmospheres:
        raise ConfigError(f"atmosphere is {atmosphere!r}; {nearest(atmosphere, table.atmospheres)}")
    axes, sun, view = table.axes, geometry.sun_zenith, geometry.view_zenith
    _within("sun zenith", math.degrees(sun), axes["sun_zenith_deg"], "°")
    _within("view zenith", math.degrees(view), axes["view_zenith_deg"], "°")
    _within("aerosol optical depth", aod, axes["aod_550"], "")
    _within("elevation", elevation_m, np.array(LAND_M), " m")
    of_aod = _weights(axes["aod_550"], aod)
    height = elevation_m / 1000
    of_height = _weights(_air(axes["elevation_km"]), _air(height, axes["elevation_km"]))
    of_gas_height = _weights(_air(axes["gas_elevation_km"]), _air(height, axes["gas_elevation_km"]))
    of_airmass = _weights(axes["gas_airmass"], 1 / math.cos(sun) + 1 / math.cos(view))
    of_sun, of_view = (_weights(axes["sun_zenith_deg"], math.degrees(a)) for a in (sun, view))
    path = np.einsum(
        "baesvz,a,e,s,v,z->b",
        table.path,
        of_aod,
        of_height,
        of_sun,
        _weights(axes["view_zenith_deg"], math.degrees(view)),
        _weights(
            np.cos(np.radians(axes["relative_azimuth_deg"])), math.cos(geometry.relative_azimuth)
        ),
    ) / (math.cos(sun) + math.cos(view))
    down, up = (
        np.einsum("baes,a,e,s->b", table.depth, of_aod, of_height, of) / math.cos(angle)
        for of, angle in ((of_sun, sun), (of_view, view))
    )
    albedo = np.einsum("bae,a,e->b", table.albedo, of_aod, of_height)
    gases = table.gas[table.atmospheres.index(atmosphere)]
    gas = np.einsum("bem,e,m->b", gases, of_gas_height, of_airmass)
    scattering = np.exp(down + up)  # path holds no gas: it and the land's light lose as much
    return np.stack([scattering * np.exp(gas), path * scattering, albedo])


_ANEW = "make it anew by pipelines/atmosphere_table.py"


def _shaped(values: Mapping[str, Sequence[int]], name: str, shape: tuple[int, ...]) -> Values:
    numbers = np.array(values[name], dtype=np.float64)
    if numbers.size != math.prod(shape):
        raise ConfigError(
            f"the atmosphere's table has {numbers.size} numbers of {name}; its axes ask for "
            f"{math.prod(shape)}; {_ANEW}"
        )
    return numbers.reshape(shape) * UNIT


def _within(name: str, value: float, nodes: Values, unit: str) -> None:
    if not nodes[0] <= value <= nodes[-1]:
        raise InputError(
            f"{name} is {value:.4g}{unit}; the atmosphere's table reaches from {nodes[0]:g} to "
            f"{nodes[-1]:g}{unit}: check it, or take dark-object subtraction for this scene"
        )


def _weights(nodes: Values, x: float) -> Values:
    """Lagrange's weights: those of the polynomial through values at the nodes, at x."""
    apart = nodes[:, None] - nodes
    np.fill_diagonal(apart, 1)
    ahead = np.broadcast_to(x - nodes, apart.shape).copy()
    np.fill_diagonal(ahead, 1)
    return np.asarray(np.prod(ahead / apart, axis=1))


def _air(km: Any, within: Values | None = None) -> Any:
    """Elevation as air still above it, kept between the ends of an axis."""
    kept = km if within is None else min(max(km, within[0]), within[-1])
    return np.exp(-kept / AIR_SCALE_KM)
