"""Coordinate reference systems: what is equal-area, what a pixel weighs, which datums are safe.

pyproj's one owner. CRSs travel between modules as text, because rasterio and pyogrio each carry
a PROJ of their own.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import pyproj
import pyproj.network
from pyproj.exceptions import CRSError

from carbonmap.errors import GridError
from carbonmap.types import Floats

os.environ["PROJ_NETWORK"] = "OFF"
pyproj.network.set_network_enabled(False)  # type: ignore[attr-defined]
# Coordinates must not depend on whether a machine is online. rasterio's and pyogrio's PROJ know
# the variable alone, and look at it when first used; no option of GDAL reaches them.

EQUAL_AREA_TOLERANCE = 1e-6
"""Largest departure of the areal scale from 1; a UTM zone's is about 1e-3, Albers' about 1e-11."""

BALLPARK_HARMLESS = {
    "china geodetic coordinate system 2000": "CGCS2000 is taken as WGS 84 (they differ by "
    "centimetres to a few decimetres, far below a pixel)",
    "china 2000": "CGCS2000 is taken as WGS 84 (they differ by centimetres to a few decimetres, "
    "far below a pixel)",
}
"""Datums whose missing transformation to WGS 84 does no harm at metre scale (ENGINEERING 7)."""

OLD_CHINESE = ("xian 1980", "beijing 1954", "new beijing")
"""Datums that lie tens to hundreds of metres off, by amounts that vary from place to place."""

OLD_CHINESE_SHAPES = (6378140, 6378245)
"""Semi-major axes, m, of their ellipsoids IAG 1975 and Krassowsky 1940: what a CRS without a datum
name still tells."""


@lru_cache(maxsize=64)
def parse(text: str) -> pyproj.CRS:
    """A CRS from an EPSG code, WKT or PROJ text.

    Raises:
        GridError: the text names no CRS.
    """
    try:
        return pyproj.CRS.from_user_input(text)
    except CRSError as error:
        raise GridError(
            f"CRS {text!r} cannot be read ({error}); give an EPSG code such as EPSG:32648 or WKT"
        ) from None


@lru_cache(maxsize=64)  # a tenth of a second each, and every command asks several times
def canonical(text: str) -> str:
    """``EPSG:n`` where the authority has a code for it, else WKT 2 on one line."""
    crs = parse(text)
    code = crs.to_epsg(min_confidence=100)
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def same(one: str, other: str) -> bool:
    """Whether two CRS texts mean the same system, whatever their axis order."""
    return bool(parse(one).equals(parse(other), ignore_axis_order=True))


def require_metres(text: str) -> None:
    """Refuse a CRS whose axes are not metres, since `pixel_m` would mean nothing on it.

    Raises:
        GridError: the CRS is geographic, or its unit is not the metre.
    """
    crs = parse(text)
    units = {axis.unit_name for axis in crs.axis_info}
    if not crs.is_projected or units != {"metre"}:
        kind = "geographic" if crs.is_geographic else "not projected in metres"
        raise GridError(
            f"CRS {crs.name!r} is {kind} (axes in {', '.join(sorted(units))}); a project grid "
            f"needs "
            f"a projected CRS in metres, such as a UTM zone or an equal-area Albers"
        )


def areal_scale(text: str, x: Floats, y: Floats) -> Floats:
    """Area on the map ÷ area on the ellipsoid at points of the CRS (Snyder 1987, ``s``).

    Args:
        text: a projected CRS.
        x: eastings, m, any shape.
        y: northings, m, same shape.

    Returns:
        Dimensionless, same shape; exactly 1 everywhere for an equal-area projection.
    """
    projection = pyproj.Proj(parse(text))
    lon, lat = projection(x, y, inverse=True)
    return np.asarray(projection.get_factors(lon, lat).areal_scale, dtype=np.float64)


def is_equal_area(text: str, bounds: tuple[float, float, float, float]) -> bool:
    """Whether every pixel of the box weighs the same on the ellipsoid, tried on a 5×5 lattice."""
    left, bottom, right, top = bounds
    x, y = np.meshgrid(np.linspace(left, right, 5), np.linspace(bottom, top, 5))
    return bool(np.all(np.abs(areal_scale(text, x, y) - 1) < EQUAL_AREA_TOLERANCE))


def local_equal_area(text: str, bounds: tuple[float, float, float, float]) -> str:
    """The CRS itself where it is equal-area, else Lambert azimuthal equal-area at the box's centre.

    The local projection keeps the straight edges of stands straight to within millimetres.
    """
    if is_equal_area(text, bounds):
        return text
    left, bottom, right, top = bounds
    lon, lat = pyproj.Proj(parse(text))((left + right) / 2, (bottom + top) / 2, inverse=True)
    shape = parse(text).get_geod()
    size = {"a": shape.a, "b": shape.b} if shape else {"datum": "WGS84"}
    local = {"proj": "laea", "lat_0": lat, "lon_0": lon, "units": "m"} | size
    return str(pyproj.CRS.from_dict(local).to_wkt())


def transform_points(source: str, target: str, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points from one CRS to another, eastings first whatever the authority's axis order."""
    transformer = pyproj.Transformer.from_crs(parse(source), parse(target), always_xy=True)
    moved = transformer.transform(np.atleast_1d(x), np.atleast_1d(y))
    return np.atleast_1d(moved[0]), np.atleast_1d(moved[1])


def transform_bounds(
    source: str, target: str, bounds: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """The box in another CRS that holds the box, its edges followed at 21 points each."""
    transformer = pyproj.Transformer.from_crs(parse(source), parse(target), always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*bounds, densify_pts=21)
    return float(left), float(bottom), float(right), float(top)


def datum_note(text: str) -> str | None:
    """What a user should know about bringing this CRS to WGS 84; None where nothing is lost.

    PROJ has no transformation from Xian 1980 to WGS 84 and, asked for one, moves nothing and says
    nothing. CGCS2000 lacks one too, but there the omission is harmless.

    Raises:
        GridError: the datum is an old Chinese one whose shift is unknown.
    """
    crs = parse(text)
    geodetic = crs.geodetic_crs
    names = " ".join(
        n
        for n in (crs.name, geodetic.name if geodetic else "", crs.datum.name if crs.datum else "")
    ).lower()
    if any(old in names for old in OLD_CHINESE):
        raise GridError(
            f"CRS {crs.name!r} stands on an old Chinese datum; without local parameters its shift "
            f"to WGS 84 is unknown (tens of metres or more) and PROJ would silently apply none; "
            f"convert the data to CGCS2000 (EPSG:4490) with your survey office's parameters"
        )
    shape = parse(text).get_geod()
    if "unknown" in names and shape and round(shape.a) in OLD_CHINESE_SHAPES:
        raise GridError(
            f"CRS {crs.name!r} names no datum, and its ellipsoid (a = {shape.a:.0f} m) is that of "
            f"Xian "
            f"1980 or Beijing 1954, whose shift to WGS 84 is unknown; convert the data to CGCS2000"
        )
    for datum, note in BALLPARK_HARMLESS.items():
        if datum in names or "cgcs2000" in names:
            return note
    return None
