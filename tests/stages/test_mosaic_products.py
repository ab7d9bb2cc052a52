"""Twelve GF-1 products over two UTM zones, from their counts to one image."""

import dataclasses
import datetime

import numpy as np
import pytest

from carbonmap import config, landscape
from carbonmap.calibration import calibrate
from carbonmap.composite import NO_SOURCE
from carbonmap.crs import transform_points
from carbonmap.io import composed, raster, store
from carbonmap.io.raster import Source
from carbonmap.io.scenes import open_scene, scenes
from carbonmap.landscape import County, county_grid
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.drawing import Land
from carbonmap.landscape.product import Shot
from carbonmap.quality import Quality, has
from carbonmap.stages.gf1 import SceneOptions, ingest_gf1
from carbonmap.stages.ingest import Warping, ingest_layer
from carbonmap.stages.mosaic import MosaicOptions, mosaic
from carbonmap.stages.simulate_gf1 import write_shot
from carbonmap.sun import sun_degrees

pytestmark = pytest.mark.slow

CENTRE = (102.0, 26.4)
"""The border of UTM zones 47 and 48."""

ROWS, COLS, STEP_PX, SIZE = 3, 4, 280, 440
"""Scenes of 440 px, 280 apart: a third of each overlaps its neighbour."""

COUNTY = County()


def product(folder, grid, number):
    """One scene: its own day, camera, haze, clouds and drift of the calibration."""
    row, col = divmod(number, COLS)
    x = grid.x[0] + (110 + col * STEP_PX) * grid.pixel_m
    y = grid.y[0] - (110 + row * STEP_PX) * grid.pixel_m
    lon, lat = transform_points(grid.crs, "EPSG:4326", np.array([x]), np.array([y]))
    rng = np.random.default_rng(number)
    haze, drift = rng.uniform(0.7, 1.3), 1 + rng.uniform(-0.06, 0.06, 4)
    sky = dataclasses.replace(COUNTY, seed=100 + number)

    def values(part):
        land = np.stack(list(landscape.reflectance(part, COUNTY, "2020-08").values()))
        land[:, landscape.clouds(part, sky, "2020-08")] = 0.62
        path = haze * np.array([0.075, 0.045, 0.025, 0.012])[:, None, None]
        return (path + np.array([0.80, 0.86, 0.90, 0.94])[:, None, None] * land).astype(np.float32)

    sensor = f"WFV{number % 4 + 1}"
    published = calibrate(config.builtin("gf1_wfv"), sensor, 2020)
    drifted = dataclasses.replace(published, gain=tuple(np.array(published.gain) * drift))
    when = datetime.datetime(2020, 8, 4 + 2 * number, 3, 40, tzinfo=datetime.UTC)
    low, high = COUNTY.elevation_m
    return write_shot(
        folder,
        Shot(
            camera_over(lon.item(), lat.item(), sensor, SIZE, SIZE),
            Land(grid, lambda g: landscape.elevation(g, COUNTY), values, low, high),
            drifted,
            when,
            *sun_degrees(when, lon.item(), lat.item()),
            number,
            missing=((100, 104),) if number == 5 else (),
        ),
    )


def test_twelve_products_become_one_image_without_a_seam(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_PX", 256)
    archive = tmp_path / "archive"
    shape = (2 * 110 + (ROWS - 1) * STEP_PX, 2 * 110 + (COLS - 1) * STEP_PX)
    grid = county_grid(*shape, centre=CENTRE)
    raster.write_tile(tmp_path / "dem.tif", landscape.elevation(grid, COUNTY), grid, np.nan)
    ingest_layer(
        archive, "r", grid, "dem", [Source(tmp_path / "dem.tif")], Warping(), heights="ellipsoid"
    )
    for number in range(ROWS * COLS):
        product(tmp_path / "products", grid, number)
    options = SceneOptions(atmosphere="dos", terrain="none")
    ingest_gf1(archive, "r", grid, [tmp_path / "products"], options)
    plain, told = (
        mosaic(archive, "r", grid, ["2020-08"], MosaicOptions(harmonise=how), existing="overwrite")
        .data["mosaics"][0]
        for how in (False, True)
    )  # fmt: skip
    print("seam ratio", plain["seams"]["ratio"], "->", told["seams"]["ratio"])
    assert plain["seams"]["ratio"] > 1.5
    assert told["seams"]["ratio"] <= 1.1

    image, source, _ = (
        a[:] for a in composed.open_whole(archive / "r" / "image_2020-08-16" / "data.zarr")
    )
    names = [one["id"] for one in told["scenes"]]
    usable = np.zeros(grid.shape, bool)
    right = np.zeros(grid.shape, bool)
    gain, offset = (np.array([s[k] for s in told["scenes"]]) for k in ("gain", "offset"))
    for path, info in scenes(archive, "r"):
        number = names.index(info.id)
        own, quality = (a[:] for a in open_scene(path))
        rows, cols = grid.roi_of(info.grid)
        measured = np.isfinite(own).all(axis=0)
        usable[rows, cols] |= measured & ~has(quality, Quality.CLOUD | Quality.CLOUD_SHADOW)
        here = source[rows, cols] == number
        want = own * gain[number][:, None, None] + offset[number][:, None, None]
        near = np.abs(image[:, rows, cols] - want).max(axis=0) < 2**-14
        right[rows, cols] |= here & near
    assert np.array_equal(source != NO_SOURCE, usable)
    assert np.array_equal(source != NO_SOURCE, right)
    gaps = sum(one["pixels"] for one in told["gaps"].values())
    assert gaps == int((~usable).sum())
    print("gaps", told["gaps"], "of", grid.size)
