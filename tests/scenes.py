"""Small simulated scenes over steep land, and a region with its heights to lay them on."""

import datetime

import numpy as np

from carbonmap import config, landscape
from carbonmap.calibration import calibrate
from carbonmap.io import raster
from carbonmap.io.raster import Source
from carbonmap.io.scenes import open_scene, scenes
from carbonmap.landscape import County
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.drawing import Land
from carbonmap.landscape.product import Shot
from carbonmap.stages.gf1 import SceneOptions, ingest_gf1
from carbonmap.stages.ingest import Warping, ingest_layer
from carbonmap.stages.simulate_gf1 import write_shot

STEEP = County(elevation_m=(700.0, 3800.0), relief_m=1500.0)
"""Slopes of 35° on average: a height's error shows at once."""

GRID = landscape.county_grid(200, 220)

WHEN = datetime.datetime(2020, 8, 15, 3, 36, tzinfo=datetime.UTC)
"""10:30 local solar time over Huize."""

SUN = (24.5, 113.0)
"""Zenith and azimuth from true north, degrees, at that time."""

RAW = SceneOptions(atmosphere="none", terrain="none", clouds="none")
"""Calibrated and placed, and nothing else."""


def table():
    return config.builtin("gf1_wfv")


def shot(values, county=STEEP, sensor="WFV4", lines=330, samples=360, **more):
    """A scene over the grid's middle of land with these values."""
    low, high = county.elevation_m
    land = Land(GRID, lambda g: landscape.elevation(g, county), values, low, high)
    settings = {
        "camera": camera_over(*landscape.county.HUIZE, sensor, lines, samples),
        "land": land,
        "calibration": calibrate(table(), sensor, 2020),
        "time": WHEN,
        "sun_zenith_deg": SUN[0],
        "sun_azimuth_deg": SUN[1],
        "number": 26,
        "noise_counts": 0.0,
    }
    return Shot(**settings | more)


def level(grid):
    """Land of one reflectance."""
    return np.full((4, *grid.shape), 0.1, np.float32)


def texture(grid, county=STEEP):
    """Land of fine fields that no two places share."""
    base = landscape.canopy_height(grid, county) / 200
    return np.stack([0.05 + base * k for k in (0.4, 0.5, 0.6, 1.0)]).astype(np.float32)


def make(folder, *args, **more):
    """A product of `shot`."""
    return write_shot(folder, shot(*args, **more))


def dem(archive, county=STEEP, grid=GRID, heights="ellipsoid", change=lambda z: z):
    """The archive's elevation of a region named r."""
    archive.mkdir(parents=True, exist_ok=True)
    path = archive.parent / "dem.tif"
    land = change(landscape.elevation(grid, county))
    raster.write_tile(path, land, grid, np.nan)
    return ingest_layer(archive, "r", grid, "dem", [Source(path)], Warping(), heights=heights)


def ingest(archive, *products, options=RAW, grid=GRID, **more):
    """Products into region r."""
    return ingest_gf1(archive, "r", grid, products, options, **more)


def read(archive, number=0):
    """Grid, image and quality of one of the region's scenes."""
    folder, info = scenes(archive, "r")[number]
    image, quality = open_scene(folder)
    return info.grid, image[:], quality[:]
