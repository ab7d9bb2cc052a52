"""A real product's browse image on the grid: its camera scaled to a tenth."""

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from skimage.io import imread

from carbonmap import crs as crs_
from carbonmap.gf1 import parse_rpb, parse_xml
from carbonmap.grid import Grid
from carbonmap.io.ortho import HEIGHT_HALO_PX, Camera, Readers, footprint, orthorectify
from carbonmap.quality import Quality
from carbonmap.stages.common import ahead
from tests.gf1_products import real

PIXEL_M = 160.0


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    scene = parse_xml(real(".xml").read_bytes(), "real.xml")
    rpc = parse_rpb(real(".rpb").read_text(), "real.rpb").reduced(10)
    data = np.moveaxis(imread(real(".jpg")), -1, 0)
    path = tmp_path_factory.mktemp("browse") / "browse.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=3, height=1371, width=1200, dtype="uint8"
        ) as out:
            out.write(data[:, :1371])
    camera = Camera(path, rpc, np.zeros((3, 1371), bool), 256)
    region = Grid.covering((5e5, 2.4e6, 9e5, 2.9e6), "EPSG:32645", PIXEL_M)
    line, sample = np.array([-0.5, -0.5, 1370.5, 1370.5]), np.array([-0.5, 1199.5, 1199.5, -0.5])
    grid = footprint(rpc, line, sample, (0.0, 100.0), region)
    return scene, camera, grid


def whole(camera, grid, size, threads, resampling):
    """The browse image on the grid, in blocks of a size, by so many threads."""
    counts = np.zeros((3, *grid.shape), np.uint8)
    quality = np.full(grid.shape, int(Quality.OUTSIDE), np.uint8)
    rois = [
        (slice(r, min(r + size, grid.height)), slice(c, min(c + size, grid.width)))
        for r in range(0, grid.height, size)
        for c in range(0, grid.width, size)
    ]
    with Readers(camera.path) as readers:

        def one(roi):
            flat = np.zeros(grid[roi].padded(HEIGHT_HALO_PX).shape)
            return roi, orthorectify(readers.get(), camera, grid[roi], flat, resampling)

        for roi, part in ahead(one, rois, threads):
            if part is not None:
                counts[(slice(None), *roi)], quality[roi] = part
    return counts, quality


def test_the_corners_lie_where_the_metadata_have_them(browse):
    scene, camera, grid = browse
    _, quality = whole(camera, grid, 512, 2, "nearest")
    inside = quality != Quality.OUTSIDE
    lon, lat = np.array(scene.corners).T
    x, y = crs_.transform_points("EPSG:4326", grid.crs, lon, lat)
    left, _, _, top = grid.bounds
    rows, cols = np.nonzero(inside)
    for row, col in zip((top - y) / PIXEL_M, (x - left) / PIXEL_M, strict=True):
        away = np.hypot(rows + 0.5 - row, cols + 0.5 - col).min()
        assert away <= 2
    # and it ends there: the corners' hull holds as much
    polygon = np.stack([(top - y) / PIXEL_M, (x - left) / PIXEL_M])
    area = 0.5 * abs(
        np.dot(polygon[0], np.roll(polygon[1], 1)) - np.dot(polygon[1], np.roll(polygon[0], 1))
    )
    assert inside.sum() == pytest.approx(area, rel=0.005)


def test_tile_size_and_threads_change_nothing(browse):
    _, camera, grid = browse
    one, other = whole(camera, grid, 2048, 1, "nearest"), whole(camera, grid, 300, 3, "nearest")
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    one, other = whole(camera, grid, 2048, 1, "cubic"), whole(camera, grid, 300, 3, "cubic")
    apart = np.abs(one[0].astype(int) - other[0].astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.01
