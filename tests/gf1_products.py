"""Small GF-1 products for tests: an affine camera over Huize, its metadata, an image."""

import datetime
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from carbonmap.gf1.camera import RPB_KEYS
from carbonmap.rpc import Rpc
from carbonmap.sun import sun_degrees

NAME = "GF1_WFV3_E103.5_N26.5_20200827_L1A0005020371"

WHEN = datetime.datetime(2020, 8, 27, 4, 1, 5, tzinfo=datetime.UTC)

HEIGHT, WIDTH = 60, 50

DEGREE_M = 111_195.0
"""Of latitude on the sphere by which gf1 measures."""

REAL = Path(__file__).parents[1] / "../shared/data/gf1_wfv3"
"""A real product's metadata."""


def real(ending):
    """A file of the real product; the test is skipped where it is absent."""
    found = sorted(REAL.glob(f"GF1*{ending}"))
    if not found:
        pytest.skip("the real product's metadata are not at hand (../shared/data/gf1_wfv3)")
    return found[0]


def polynomial(**terms):
    """20 coefficients: `one`, `lon`, `lat`, `height` by name, the others 0."""
    order = ("one", "lon", "lat", "height")
    return tuple(float(terms.get(name, 0)) for name in order) + (0.0,) * 16


def camera(height=HEIGHT, width=WIDTH, lon=103.5, lat=26.5, lean=0.15):
    """A camera of 16 m pixels that looks east: land that is higher appears further east by `lean`
    metres a metre. North is up, and the first term of a denominator is 1."""
    lat_scale = 16 * height / 2 / DEGREE_M
    long_scale = 16 * width / 2 / DEGREE_M / np.cos(np.radians(lat))
    shift = lean * 1000 / (16 * width / 2)
    one = polynomial(one=1)
    return Rpc(
        line_num=polynomial(lat=-1), line_den=one,
        samp_num=polynomial(lon=1, height=shift), samp_den=one,
        line_off=(height - 1) / 2, samp_off=(width - 1) / 2, lat_off=lat, long_off=lon,
        height_off=0.0, line_scale=height / 2, samp_scale=width / 2, lat_scale=lat_scale,
        long_scale=float(long_scale), height_scale=1000.0,
    )  # fmt: skip


def rpb(rpc=None):
    """A camera as RPB text."""
    rpc = rpc or camera()
    lines = ['satId = "XXX";', "BEGIN_GROUP = IMAGE", "\terrBias =   1.0;"]
    for key, ours in RPB_KEYS.items():
        value = getattr(rpc, ours)
        if isinstance(value, tuple):
            inner = ",\n".join(f"\t\t\t{v:+.17E}" for v in value)
            lines.append(f"\t{key} = (\n{inner});")
        else:
            lines.append(f"\t{key} = {float(value)!r};")
    return "\n".join([*lines, "END_GROUP = IMAGE", "END;", ""])


def fields(rpc=None, height=HEIGHT, width=WIDTH, when=WHEN):
    """What the metadata of a camera's image say, by tag."""
    rpc = rpc or camera()
    bottom, right = height - 0.5, width - 0.5
    lon, lat = rpc.ground(
        np.array([-0.5, -0.5, bottom, bottom]), np.array([-0.5, right, right, -0.5]), np.zeros(4)
    )
    zenith, azimuth = sun_degrees(when, float(lon.mean()), float(lat.mean()))
    china = when + datetime.timedelta(hours=8)
    found = {
        "SatelliteID": "GF1",
        "SensorID": "WFV3",
        "ReceiveTime": f"{when:%Y-%m-%d %H:%M:%S}",
        "ProductID": "5020371",
        "ProductLevel": "LEVEL1A",
        "Bands": "1,2,3,4",
        "CenterTime": f"{china:%Y-%m-%d %H:%M:%S}",
        "WidthInPixels": f"{width}",
        "HeightInPixels": f"{height}",
        "CloudPercent": "3",
        "SolarAzimuth": f"{azimuth:.4f}",
        "SolarZenith": f"{zenith:.4f}",
        "SatelliteAzimuth": "281.853",
        "SatelliteZenith": "81.2272",
        "GainMode": "G0,G0,G0,G0",
    }
    for corner, x, y in zip(("TopLeft", "TopRight", "BottomRight", "BottomLeft"), lon, lat,
                            strict=True):  # fmt: skip
        found |= {f"{corner}Latitude": f"{y:.6f}", f"{corner}Longitude": f"{x:.6f}"}
    return found


def xml(encoding="UTF-8", declared=None, **changes):
    """Metadata as a file's bytes; a change to None leaves a field out."""
    told = {k: v for k, v in (fields() | changes).items() if v is not None}
    lines = [f'<?xml version="1.0" encoding="{declared or encoding}" ?>', "<ProductMetaData>"]
    lines += [f"    <{tag}>{text}</{tag}>" for tag, text in told.items()]
    return "\n".join([*lines, "</ProductMetaData>", ""]).encode(encoding)


def write_image(path, height=HEIGHT, width=WIDTH, count=4, dtype="uint16", **more):
    """A TIFF without a map's coordinates."""
    path.unlink(missing_ok=True)  # GDAL would remove the RPB beside it too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=height, width=width, count=count, dtype=dtype, **more
        ) as out:
            values = np.random.default_rng(1).integers(50, 900, (count, height, width))
            out.write(values.astype(dtype))
    return path


def write_product(folder, name=NAME, endings=(".tiff", ".xml", ".rpb")):
    """A whole product in a folder; the image's path."""
    folder.mkdir(parents=True, exist_ok=True)
    image, metadata, rpb_path = (folder / f"{name}{ending}" for ending in endings)
    write_image(image)
    sensor, number = name.split("_")[1], name.split("_L1A")[1]
    metadata.write_bytes(xml(SensorID=sensor, ProductID=number))
    rpb_path.write_text(rpb(), encoding="ascii")
    return image
