"""The RPB of a GF-1 WFV product: its camera, and whether it is this scene's."""

from __future__ import annotations

import math
import re

import numpy as np

from carbonmap.errors import InputError
from carbonmap.gf1.document import NUMBER
from carbonmap.gf1.scene import EARTH_M, Scene, ground_m
from carbonmap.rpc import TERMS, Rpc
from carbonmap.types import Floats

MOST_CHARS = 1_000_000
"""Of an RPB; a real one has 2,700."""

RPB_KEYS = {
    "lineOffset": "line_off",
    "sampOffset": "samp_off",
    "latOffset": "lat_off",
    "longOffset": "long_off",
    "heightOffset": "height_off",
    "lineScale": "line_scale",
    "sampScale": "samp_scale",
    "latScale": "lat_scale",
    "longScale": "long_scale",
    "heightScale": "height_scale",
    "lineNumCoef": "line_num",
    "lineDenCoef": "line_den",
    "sampNumCoef": "samp_num",
    "sampDenCoef": "samp_den",
}
"""The RPB's names of a camera's numbers, in its order, and ours."""

STATEMENT = re.compile(r"\b([A-Za-z]\w*)\s*+=\s*+(\([^()]*+\)?|[^\s;()=]*+)", re.ASCII)
"""``key = value`` or ``key = ( … )``. Possessive: no text can make it look back, so that time grows
with the text's length and no faster."""

GAP_WARN_M = 500.0
"""Distance between the camera's corners and the metadata's past which a user is told; 9 to 21 m in
a real product, and some products' corners are a kilometre off."""

GAP_REFUSED_M = 20_000.0
"""Distance past which the camera is another scene's: neighbours begin some 100 km further on, and
relief of 4 km seen 33° aside shifts a corner by 3 km."""

PIXEL_M = (4.0, 80.0)
"""Edge of a pixel on the ground anywhere in the image, m: half and twice what corners may imply."""

BEND = 0.02
"""Metres aside a metre of height by which a line of sight may change on its way up: light goes
straight, and a cubic follows it to 1e-4 in a real product."""

FAN = 0.4
"""The same, by which one pixel's line of sight may differ from the image's central one. A WFV
camera sees 8.4° to either side, aside by up to 33°: 0.15 to 0.25."""

VIEW_WARN_DEG = 5.0
"""Angle between the view by the metadata and by the camera past which a user is told; 0.1° in a
real product. It refuses nothing, since nothing is computed from the metadata's."""

LAND_M = (-500.0, 9000.0)
"""Heights between which all land lies, m."""

NODES = 9
"""Points a side at which a camera is tried; a cubic cannot bend much between them."""


def parse_rpb(text: str, name: str) -> Rpc:
    """The camera of an RPB file.

    The case of keys, white space, line ends, missing semicolons and Fortran's exponents (``1D+00``)
    do not matter.

    Raises:
        InputError: a key is missing, repeated or garbled, or its numbers make no camera.
    """
    if len(text) > MOST_CHARS:
        raise InputError(f"RPB {name!r} has {len(text):,} characters; a camera has a few thousand")
    known = {key.lower(): key for key in RPB_KEYS}
    found: dict[str, str] = {}
    for statement in STATEMENT.finditer(text):
        if (key := known.get(statement[1].lower())) is None:
            continue
        if key in found:
            raise InputError(f"RPB {name!r} has {key} twice; fetch the product again")
        found[key] = statement[2]
    if missing := [key for key in RPB_KEYS if key not in found]:
        raise InputError(
            f"RPB {name!r} lacks {', '.join(missing)}; it is no RPB or damaged, fetch the product "
            f"again"
        )
    values = {ours: _value(key, found[key], name) for key, ours in RPB_KEYS.items()}
    try:
        return Rpc(**values)  # type: ignore[arg-type]  # by key, either a number or 20
    except InputError as error:
        raise InputError(f"RPB {name!r}: {error}") from None


def _value(key: str, text: str, name: str) -> float | tuple[float, ...]:
    """One number, or the 20 of a polynomial."""
    if not key.endswith("Coef"):
        return _number(key, text, name)
    if not (text.startswith("(") and text.endswith(")")):
        raise InputError(f"RPB {name!r}: {key} is no list ( … ); fetch the product again")
    parts = re.split(r"[,\s]+", text[1:-1].strip(", \t\r\n"))
    if len(parts) != TERMS:
        raise InputError(f"RPB {name!r}: {key} has {len(parts)} numbers; there must be {TERMS}")
    return tuple(_number(f"{key} {place}", part, name) for place, part in enumerate(parts, 1))


def _number(key: str, text: str, name: str) -> float:
    plain = text.replace("D", "E").replace("d", "e")
    if not re.fullmatch(NUMBER, plain):
        raise InputError(f"RPB {name!r}: {key} is {text[:40]!r}, which is no number")
    return float(plain)


def footprint_gap_m(rpc: Rpc, scene: Scene, height: float) -> float:
    """The largest distance, m, between the camera's corners and those of the metadata.

    The corners are the image's outer ones, half a pixel beyond the centres of its corner pixels: in
    a real product they lie 9 to 21 m from the metadata's, the centres 11 to 25 m.

    Args:
        rpc: the camera.
        scene: the metadata.
        height: of the land, m over the ellipsoid; a real product's corners are those at 0.

    Returns:
        Infinite where the camera sees no ground at a corner.
    """
    bottom, right = scene.height - 0.5, scene.width - 0.5
    line, sample = np.array([-0.5, -0.5, bottom, bottom]), np.array([-0.5, right, right, -0.5])
    lon, lat = rpc.ground(line, sample, np.full(4, float(height)))
    if np.isnan(lon).any():
        return math.inf
    seen = zip(lon.tolist(), lat.tolist(), strict=True)
    return max(
        math.hypot(*ground_m(said, at)) for said, at in zip(scene.corners, seen, strict=True)
    )


def require_fit(rpc: Rpc, scene: Scene) -> None:
    """Refuse a camera that is another scene's, or that no camera could be.

    It is tried all over the image, at its own middle height and a scale below and above, as far as
    land can be.

    Raises:
        InputError: it sees no ground somewhere; its pixels are too small, too large or mirrored;
            its lines of sight bend or fan out too far; or a corner lies `GAP_REFUSED_M` from the
            metadata's.
    """
    heights = [rpc.height_off + k * rpc.height_scale for k in (-1, 0, 1)]
    low, middle, high = (min(max(h, LAND_M[0]), LAND_M[1]) for h in heights)
    for height in (low, middle, high):
        least, most = _pixel_edges(rpc, scene, height)
        if not PIXEL_M[0] <= least <= most <= PIXEL_M[1]:
            raise InputError(
                f"the RPB of {scene.id} gives pixels of {least:.3g} to {most:.3g} m on the ground "
                f"at {height:.0f} m; want about 16 m: it is damaged, fetch the product again"
            )
    bend, fan = _sight(rpc, scene, low, high)
    if not (bend <= BEND and fan <= FAN):
        raise InputError(
            f"the RPB of {scene.id} has lines of sight that bend by {bend:.2g} and fan out by "
            f"{fan:.2g} (metres aside a metre of height; a camera's do by at most {BEND:g} and "
            f"{FAN:g}): it is damaged, fetch the product again"
        )
    gap = footprint_gap_m(rpc, scene, 0.0)
    if gap > GAP_REFUSED_M:
        raise InputError(
            f"the RPB of {scene.id} puts a corner {gap / 1000:.0f} km away from where the XML has "
            f"it; one of the two is another scene's or damaged, fetch the product again"
        )


def _nodes(scene: Scene) -> tuple[Floats, Floats]:
    """Lines and samples all over the image, ``(NODES, NODES)`` each, its centre in the middle."""
    line, sample = np.meshgrid(
        np.linspace(0, scene.height - 1, NODES), np.linspace(0, scene.width - 1, NODES)
    )
    return line, sample


def _pixel_edges(rpc: Rpc, scene: Scene, height: float) -> tuple[float, float]:
    """The shortest and longest pixel edge, m, at points all over the image; NaN where it fails.

    An edge is negative where the image is mirrored.
    """
    line, sample = _nodes(scene)
    level = np.full(line.shape, height)
    here = rpc.ground(line, sample, level)
    down = _metres(here, rpc.ground(line + 1, sample, level))
    across = _metres(here, rpc.ground(line, sample + 1, level))
    turned = np.sign(down[0] * across[1] - down[1] * across[0])
    edges = [np.hypot(*side) * turned for side in (down, across)]
    return float(np.min(edges)), float(np.max(edges))


def _sight(rpc: Rpc, scene: Scene, low: float, high: float) -> tuple[float, float]:
    """How far lines of sight bend, and how far they differ from the image's central one.

    Both in metres aside for a metre of height, the largest of points all over the image.
    """
    middle = (low + high) / 2
    lower, upper = _lean(rpc, scene, low, middle), _lean(rpc, scene, middle, high)
    lean = (lower + upper) / 2
    centre = lean[:, NODES // 2, NODES // 2, None, None]
    return float(np.hypot(*(upper - lower)).max()), float(np.hypot(*(lean - centre)).max())


def _lean(rpc: Rpc, scene: Scene, low: float, high: float) -> Floats:
    """Metres east and north for a metre of height along each line of sight, ``(2, node, node)``."""
    line, sample = _nodes(scene)
    foot = rpc.ground(line, sample, np.full(line.shape, low))
    head = rpc.ground(line, sample, np.full(line.shape, high))
    return np.asarray(_metres(foot, head)) / max(high - low, 1.0)


def view_gap_deg(rpc: Rpc, scene: Scene) -> float:
    """Angle between the satellite's direction by the metadata and by the camera, at the centre."""
    east, north = _lean(rpc, scene, 0.0, 1000.0)[:, NODES // 2, NODES // 2]
    zenith, azimuth = np.radians((scene.view_zenith_deg, scene.view_azimuth_deg))
    said = np.tan(zenith) * np.sin(azimuth), np.tan(zenith) * np.cos(azimuth), 1.0
    seen = east, north, 1.0
    cosine = np.dot(said, seen) / (np.linalg.norm(said) * np.linalg.norm(seen))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _metres(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """East and north, m, between neighbouring points, as `ground_m` has them for arrays."""
    degree = math.radians(1) * EARTH_M
    return (b[0] - a[0]) * np.cos(np.radians(a[1])) * degree, (b[1] - a[1]) * degree
