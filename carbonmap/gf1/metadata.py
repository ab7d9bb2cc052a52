"""The XML of a GF-1 WFV L1A product, read field by field and checked against itself.

Three of its fields are not what they seem, as a real product shows (WFV3, 2020-05-23):

- ``ReceiveTime`` is UTC, the other times are UTC+8: 05:03:08 and 13:03:08. With the first, the sun
  by the almanac stands within 0.05° of the product's own angles; with the second taken for UTC, it
  would be setting.
- ``SolarZenith`` is the zenith angle by that same comparison, whatever programs take it for.
- ``SatelliteZenith`` is 81.2° for a camera that looks 8.8° away from straight down, as the camera
  model of the same product has it: an elevation. The cameras look 8° and 24° aside.
"""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Mapping

from carbonmap.errors import InputError
from carbonmap.gf1.document import NUMBER, elements
from carbonmap.gf1.scene import PRODUCT_NAME, SENSORS, Corners, Scene, ground_m
from carbonmap.sun import angle_between, sun_degrees

CHINA = datetime.timezone(datetime.timedelta(hours=8))
"""The zone of CenterTime, StartTime and EndTime."""

LIFE = (
    datetime.datetime(2013, 4, 26, tzinfo=datetime.UTC),
    datetime.datetime(2038, 4, 26, tzinfo=datetime.UTC),
)
"""From GF-1's launch to when it will have worked for 25 years, five times what it was built for."""

SAME_MINUTE = datetime.timedelta(minutes=1)
"""Within which the two times agree; they are rounded to seconds, and a scene takes 30."""

SAME_HOUR = datetime.timedelta(hours=1)
"""Past which one of two times is wrong: the sun moves by 15°, and nobody can tell which it is."""

LARGEST_PX = 32_768
"""Rows or columns. A camera has 12,000 samples, and scenes are cut to about as many lines; twice
that still fits, and memory for no more is ever planned."""

ELEVATION_DEG = 45.0
"""SatelliteZenith above it is an elevation: the cameras look at most 33° aside, and no product is
taken from further than 45°."""

SUN_OFF_DEG = 10.0
"""Angle between the sun by the metadata and by the almanac past which one of them is wrong. It is
0.05° in a real product; an hour's error of the time is 15°, and 10° of zenith angle change
reflectance by a tenth and more."""

PIXEL_M = (8.0, 40.0)
"""Edge of a pixel on the ground that the corners may imply. It is 16 m below the satellite; a
camera that looks 33° aside stretches it to 24 m, and a satellite that rolls besides, further."""

STANDARD_GAIN = "G0"
"""GainMode of a real product, of which the published gains are taken to be."""


def parse_xml(content: bytes, name: str) -> Scene:
    """A product's metadata.

    Args:
        content: the file's bytes, in UTF-8, UTF-16 or the encoding that it declares.
        name: the file's name; where it is a product's, sensor, day and number must agree with it.

    Raises:
        InputError: it is no XML, not of a GF-1 WFV L1A product, or a field is missing, repeated,
            out of range, or contradicts another.
    """
    try:
        return _scene(_Fields(elements(content), name))
    except InputError as error:
        raise InputError(f"GF-1 metadata {name!r}: {error}") from None


class _Fields:
    """The fields of one XML by tag, each asked for with what it must be."""

    def __init__(self, texts: Mapping[str, list[str]], name: str) -> None:
        self.texts, self.name, self.notes = texts, name, list[str]()

    def get(self, tag: str) -> str:
        """The text, or "" where there is none."""
        texts = list(dict.fromkeys(self.texts.get(tag, [""])))
        if len(texts) > 1:
            raise InputError(f"{tag} stands twice, as {texts[0][:40]!r} and {texts[1][:40]!r}")
        return texts[0]

    def text(self, tag: str, want: str) -> str:
        if not (found := self.get(tag)):
            raise InputError(f"{tag} is {'empty' if tag in self.texts else 'missing'}; want {want}")
        return found

    def number(self, tag: str, low: float, high: float, unit: str) -> float:
        want = f"a number from {low:g} to {high:g} {unit}"
        text = self.text(tag, want)
        value = float(text) if re.fullmatch(NUMBER, text) else math.nan
        if not low <= value <= high:
            raise InputError(f"{tag} is {text[:40]!r}; want {want}")
        return value

    def count(self, tag: str) -> int:
        value = self.number(tag, 1, LARGEST_PX, "px")
        if value != int(value):
            raise InputError(f"{tag} is {value:g}; want a whole number of pixels")
        return int(value)

    def time(self, tag: str, zone: datetime.tzinfo) -> datetime.datetime | None:
        if not (text := self.get(tag)):
            return None
        try:
            value = datetime.datetime.fromisoformat(text)
            aware = value if value.tzinfo else value.replace(tzinfo=zone)
            return aware.astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            raise InputError(
                f"{tag} is {text[:40]!r}; want a time such as 2020-08-27 12:01:05"
            ) from None


def _scene(fields: _Fields) -> Scene:
    """The scene, whose fields agree with each other."""
    satellite, sensor = _sensor(fields)
    level = fields.text("ProductLevel", "LEVEL1A").upper()
    if level.removeprefix("LEVEL").removeprefix("L") != "1A":
        raise InputError(
            f"ProductLevel is {level[:40]!r}; want LEVEL1A. A product that is projected already is "
            f"read with `carbonmap ingest image`"
        )
    acquired = _acquired(fields)
    corners = _corners(fields)
    scene = Scene(
        id=re.sub(r"\.xml$", "", fields.name, flags=re.IGNORECASE),
        satellite=satellite,
        sensor=sensor,
        acquired=acquired,
        height=fields.count("HeightInPixels"),
        width=fields.count("WidthInPixels"),
        sun_zenith_deg=fields.number("SolarZenith", 0, 89, "degrees (the sun must be up)"),
        sun_azimuth_deg=fields.number("SolarAzimuth", -180, 360, "degrees") % 360,
        view_zenith_deg=_view_zenith(fields.number("SatelliteZenith", 0, 90, "degrees")),
        view_azimuth_deg=fields.number("SatelliteAzimuth", -180, 360, "degrees") % 360,
        corners=corners,
        gain_mode=_gain_mode(fields),
        cloud_percent=_cloud(fields),
        product_id=fields.text("ProductID", "the product's number"),
        level="LEVEL1A",
        notes=tuple(fields.notes),
    )
    _require_sun(scene)
    _require_shape(scene)
    _require_name(scene)
    return scene


def _sensor(fields: _Fields) -> tuple[str, str]:
    satellite = fields.text("SatelliteID", "GF1").upper().replace("-", "")
    sensor = fields.text("SensorID", ", ".join(SENSORS)).upper()
    if satellite != "GF1" or sensor not in SENSORS:
        raise InputError(
            f"it is of {satellite[:20]}'s camera {sensor[:20]}; want GF1's "
            f"{', '.join(SENSORS[:-1])} or {SENSORS[-1]}. Reflectance of another camera, on a map "
            f"already, is read with `carbonmap ingest image`"
        )
    return satellite, sensor


def _acquired(fields: _Fields) -> datetime.datetime:
    """CenterTime, which is UTC+8, or else ReceiveTime, which is UTC; both must mean one hour."""
    centre, received = fields.time("CenterTime", CHINA), fields.time("ReceiveTime", datetime.UTC)
    found = centre or received
    if found is None:
        raise InputError("CenterTime and ReceiveTime are missing or empty; want one of them")
    if not LIFE[0] <= found <= LIFE[1]:
        raise InputError(
            f"it was taken on {found:%Y-%m-%d}; want a day in GF-1's life, from {LIFE[0]:%Y-%m-%d}"
        )
    if centre and received and abs(centre - received) > SAME_MINUTE:
        told = (
            f"CenterTime (UTC+8) is {centre:%Y-%m-%d %H:%M:%S} in UTC and ReceiveTime (UTC) is "
            f"{received:%Y-%m-%d %H:%M:%S}"
        )
        if abs(centre - received) > SAME_HOUR:
            raise InputError(f"{told}; they must mean the same minute: correct the wrong one")
        fields.notes.append(f"{told}; the first was taken")
    return found


def _view_zenith(stated: float) -> float:
    """The view zenith, degrees, from SatelliteZenith, which holds an elevation (see above)."""
    return 90 - stated if stated > ELEVATION_DEG else stated


def _cloud(fields: _Fields) -> float | None:
    """The cloud cover, which nothing is computed from: nonsense in it is told and left out."""
    if not (text := fields.get("CloudPercent")):
        return None
    try:
        return fields.number("CloudPercent", 0, 100, "%")
    except InputError:
        fields.notes.append(f"CloudPercent is {text[:20]!r}, which is no share of cloud; left out")
        return None


def _gain_mode(fields: _Fields) -> tuple[str, ...]:
    """The gain mode by band; one for which no gains are published is told."""
    modes = tuple(filter(None, (part.strip() for part in fields.get("GainMode").split(","))))
    if other := sorted({mode[:9] for mode in modes if mode.upper() != STANDARD_GAIN}):
        fields.notes.append(
            f"GainMode is {', '.join(other)[:40]}; the published gains are taken to be those of "
            f"{STANDARD_GAIN} and may not hold: give this mode's own by --gain"
        )
    return modes


def _corners(fields: _Fields) -> Corners:
    return tuple(
        (
            fields.number(f"{corner}Longitude", -180, 180, "degrees"),
            fields.number(f"{corner}Latitude", -90, 90, "degrees"),
        )
        for corner in ("TopLeft", "TopRight", "BottomRight", "BottomLeft")
    )


def _require_sun(scene: Scene) -> None:
    """Refuse angles or a time with which the sun would stand elsewhere over this place."""
    zenith, azimuth = sun_degrees(scene.acquired, *scene.centre)
    stated = scene.sun_zenith_deg, scene.sun_azimuth_deg
    off = math.degrees(angle_between(*map(math.radians, (zenith, azimuth, *stated))))
    if off > SUN_OFF_DEG:
        raise InputError(
            f"SolarZenith {scene.sun_zenith_deg:g}° and SolarAzimuth {scene.sun_azimuth_deg:g}° do "
            f"not fit {scene.acquired:%Y-%m-%d %H:%M:%S} UTC at {scene.centre[1]:.1f}° N "
            f"{scene.centre[0]:.1f}° E, where the sun stood at {zenith:.1f}° and {azimuth:.1f}°; "
            f"correct the angles (SolarZenith is the angle from the zenith) or the time "
            f"(CenterTime is UTC+8)"
        )


def _require_shape(scene: Scene) -> None:
    """Refuse corners that are crossed, mirrored, or imply pixels of another camera."""
    ring = [*scene.corners, scene.corners[0]]
    sides = [ground_m(a, b) for a, b in itertools.pairwise(ring)]
    for (x, y), (x2, y2) in zip(sides, [*sides[1:], sides[0]], strict=True):
        if x * y2 - y * x2 >= 0:
            raise InputError(
                f"the corners {scene.corners} do not run clockwise around the scene; want top "
                f"left, top right, bottom right, bottom left"
            )
    counts = (scene.width, scene.height) * 2
    for side, count in zip(sides, counts, strict=True):
        edge = math.hypot(*side) / count
        if not PIXEL_M[0] <= edge <= PIXEL_M[1]:
            raise InputError(
                f"corners and size imply pixels of {edge:.1f} m; want {PIXEL_M[0]:g} to "
                f"{PIXEL_M[1]:g} m: check WidthInPixels, HeightInPixels and the corners"
            )


def _require_name(scene: Scene) -> None:
    """Refuse metadata that a product's name contradicts: they are of another product."""
    if not (said := PRODUCT_NAME.match(scene.id)):
        return
    day = f"{scene.acquired.astimezone(CHINA):%Y%m%d}"
    for what, name, found in (
        ("sensor", said["sensor"], scene.sensor),
        ("product number", said["number"].lstrip("0"), scene.product_id.lstrip("0")),
        ("day in China", said["day"], day),
    ):
        if name != found:
            raise InputError(
                f"its name says {what} {name} and its content {found}; it is another product's"
            )
