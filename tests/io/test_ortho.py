"""Orthorectification: every pixel where the camera puts it, however the land is cut."""

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import maximum_filter

from carbonmap import landscape
from carbonmap.io import ortho
from carbonmap.io.ortho import HEIGHT_HALO_PX, Camera, Readers, orthorectify
from carbonmap.landscape import County
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.rpc_fit import fit_rpc
from carbonmap.quality import Quality

LINES, SAMPLES = 260, 300
COUNTY = County(elevation_m=(700.0, 3800.0), relief_m=1500.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """White noise, the worst case, as WFV4 (27° off nadir) would see it over steep land."""
    path = tmp_path_factory.mktemp("raw") / "raw.tif"
    data = np.random.default_rng(3).integers(1, 1000, (4, LINES, SAMPLES)).astype(np.uint16)
    data[:, 100:103] = 0
    data[2, 60, 190] = 0
    data[1, 200:204, 160:170] = 1023
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=4, height=LINES, width=SAMPLES, dtype="uint16"
        ) as out:
            out.write(data)
    rpc = fit_rpc(camera_over(103.5, 26.4, "WFV4", LINES, SAMPLES))
    missing = np.zeros((4, LINES), bool)
    missing[:, 100:103] = True
    grid = landscape.county_grid(320, 360)
    return Camera(path, rpc, missing, 1023), data, grid


def heights(grid):
    return landscape.elevation(grid.padded(HEIGHT_HALO_PX), COUNTY)


def ortho_of(camera, grid, resampling="cubic", height=None):
    with Readers(camera.path) as readers:
        land = heights(grid) if height is None else height
        return orthorectify(readers.get(), camera, grid, land, resampling)


def whole(camera, grid, size, resampling):
    """The grid in blocks of a size, put together."""
    counts = np.zeros((4, *grid.shape), np.uint16)
    quality = np.full(grid.shape, int(Quality.OUTSIDE), np.uint8)
    for r in range(0, grid.height, size):
        for c in range(0, grid.width, size):
            roi = slice(r, min(r + size, grid.height)), slice(c, min(c + size, grid.width))
            if (part := ortho_of(camera, grid[roi], resampling)) is not None:
                counts[(slice(None), *roi)], quality[roi] = part
    return counts, quality


def seen_at(camera, grid):
    """Line and sample of every pixel, by the camera's own formula."""
    lon, lat = ortho.lonlat(grid)
    return camera.rpc.project(lon, lat, landscape.elevation(grid, COUNTY).astype(float))


def test_nearest_is_what_the_camera_s_formula_says_at_every_pixel(scene):
    camera, data, grid = scene
    counts, quality = ortho_of(camera, grid, "nearest")
    line, sample = seen_at(camera, grid)
    inside = (line > -0.5) & (line < LINES - 0.5) & (sample > -0.5) & (sample < SAMPLES - 0.5)
    assert np.array_equal(quality == Quality.OUTSIDE, ~inside)
    clear = quality == 0
    rows, cols = np.rint(line[clear]).astype(int), np.rint(sample[clear]).astype(int)
    assert clear.sum() > 50_000
    assert np.array_equal(counts[:, clear], data[:, rows, cols])


def test_a_pixel_has_the_flags_of_every_bad_pixel_that_its_kernel_touches(scene):
    camera, data, grid = scene
    _, quality = ortho_of(camera, grid)
    line, sample = seen_at(camera, grid)
    bad = {
        Quality.MISSING_LINE: np.zeros((LINES, SAMPLES), bool),
        Quality.ZERO: (data[2] == 0),
        Quality.SATURATED: (data[1] == 1023),
    }
    bad[Quality.MISSING_LINE][100:103] = True
    bad[Quality.ZERO][100:103] = False
    inside = quality != Quality.OUTSIDE
    rows, cols = np.rint(line[inside]).astype(int), np.rint(sample[inside]).astype(int)
    for bit, mask in bad.items():
        touched = maximum_filter(mask.astype(np.uint8), 5, mode="constant")[rows, cols] > 0
        assert touched.any()
        assert np.array_equal((quality[inside] & bit) > 0, touched), bit


def test_no_count_mixes_with_a_lost_one(scene):
    camera, _, grid = scene
    counts, quality = ortho_of(camera, grid)
    lost = (quality & (Quality.MISSING_LINE | Quality.ZERO | Quality.OUTSIDE)) > 0
    assert (counts[:, lost] == 0).all()
    assert (counts[:, (quality & Quality.SATURATED) > 0] > 0).any()


@pytest.mark.parametrize("resampling", ["nearest", "cubic"])
def test_the_cut_into_blocks_changes_nothing(scene, resampling):
    camera, _, grid = scene
    one, other = (whole(camera, grid, size, resampling) for size in (400, 67))
    assert np.array_equal(one[1], other[1])
    assert np.array_equal(one[0], other[0])


def test_without_heights_land_lands_elsewhere(scene):
    """A plateau at 2,000 m seen 27° from the zenith is moved by a kilometre."""
    camera, _, grid = scene
    flat = np.zeros(grid.padded(HEIGHT_HALO_PX).shape)
    lon, lat = ortho.lonlat(grid)
    _, at_zero = camera.rpc.project(lon, lat, 0.0)
    _, at_height = seen_at(camera, grid)
    assert np.abs(at_height - at_zero).mean() > 40
    with_dem, without = ortho_of(camera, grid), ortho_of(camera, grid, height=flat)
    both = (with_dem[1] == 0) & (without[1] == 0)
    assert np.corrcoef(with_dem[0][0][both], without[0][0][both])[0, 1] < 0.1


def test_land_that_the_scene_does_not_reach_is_none(scene):
    camera, _, grid = scene
    far = landscape.county_grid(64, 64, centre=(104.5, 26.4))
    assert ortho_of(camera, far) is None
    assert ortho_of(camera, grid) is not None


def test_the_window_of_the_image_holds_all_that_the_land_between_the_nodes_needs(scene):
    camera, _, grid = scene
    part = grid[100:200, 120:250]
    height = heights(part)
    window = ortho.image_window(camera.rpc, part, height, LINES, SAMPLES)
    line, sample = seen_at(camera, part)
    for at, first, count, size in (
        (line, window.row_off, window.height, LINES),
        (sample, window.col_off, window.width, SAMPLES),
    ):
        assert first <= max(at.min() - 3, 0)
        assert first + count - 1 >= min(at.max() + 3, size - 1)
