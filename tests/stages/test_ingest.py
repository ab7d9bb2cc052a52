"""Ingest: how layers change resolution, what is remembered, what an interrupt waits for."""

import threading

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap.grid import Grid
from carbonmap.io import store
from carbonmap.io.raster import Source
from carbonmap.lazy import open_stack
from carbonmap.stages import common, ingest
from carbonmap.stages.ingest import Warping

GRID = Grid.covering((400000, 2900000, 400640, 2900480), "EPSG:32648", 16)


def raster(path, pixel, nodata=255):
    left, bottom, right, top = GRID.bounds
    shape = (round((top - bottom) / pixel), round((right - left) / pixel))
    data = np.random.default_rng(5).integers(0, 40, shape).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=shape[0], width=shape[1], count=1, dtype="uint8",
        crs=GRID.crs, transform=from_origin(left, top, pixel, pixel), nodata=nodata,
    ) as out:  # fmt: skip
        out.write(data, 1)
    return Source(path), data


def test_heights_a_little_finer_than_the_grid_are_averaged_and_elevations_interpolated(tmp_path):
    """12.8 m under 16 m: pixel (0, 0) holds one source pixel whole and parts of three more."""
    source, data = raster(tmp_path / "a.tif", 12.8)
    archive = tmp_path / "archive"
    for kind, method in (("canopy-height", "average"), ("dem", "bilinear")):
        report = ingest.ingest_layer(archive, "demo", GRID, kind, [source], Warping())
        assert report.data["resampling"] == [[method]]
    weight = np.array([0.8, 0.2])
    mean = weight @ data[:2, :2].astype(float) @ weight
    assert open_stack(archive, "demo")["canopy_height"].values[0, 0] == pytest.approx(mean)


def test_the_resampling_that_a_user_names_is_used_for_every_kind(tmp_path):
    source, _ = raster(tmp_path / "a.tif", 4)
    for kind in ("canopy-height", "dem"):
        report = ingest.ingest_layer(
            tmp_path / "archive", "demo", GRID, kind, [source], Warping(resampling="nearest")
        )
        assert report.data["resampling"] == [["nearest"]]


def test_the_archive_remembers_scale_and_offset_of_an_image(tmp_path):
    source, _ = raster(tmp_path / "a.tif", 16)
    warping = Warping(scale=0.01, offset=-0.5)
    ingest.ingest_image(tmp_path, "demo", GRID, {"red": [source]}, "2020-05-15", warping, threads=1)
    ((_, info),) = store.layers(tmp_path, "demo")
    assert (info.scale, info.offset) == (0.01, -0.5)


def test_threads_change_no_value_and_no_more_than_those_asked_for_run(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_PX", 8)
    source, _ = raster(tmp_path / "a.tif", 10.0)
    running, most, lock, block = [], [], threading.Lock(), ingest._block

    def watched(*args):
        with lock:
            running.append(1)
            most.append(len(running))
        try:
            return block(*args)
        finally:
            with lock:
                running.pop()

    monkeypatch.setattr(ingest, "_block", watched)
    values = []
    for threads in (1, 3):
        archive = tmp_path / str(threads)
        most.clear()
        ingest.ingest_layer(archive, "demo", GRID, "dem", [source], Warping(), threads=threads)
        assert max(most) <= threads
        values.append(open_stack(archive, "demo")["elevation"].values)
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_fails_leaves_later_parts_unbegun(workers):
    begun = []

    def one(part):
        begun.append(part)
        if part == 4:
            raise KeyboardInterrupt
        return part

    got = []
    with pytest.raises(KeyboardInterrupt):
        list(map(got.append, common.ahead(one, range(1000), workers)))
    assert got == [0, 1, 2, 3]
    assert len(begun) <= 5 + workers


def test_parts_come_in_order():
    assert list(common.ahead(lambda n: n * n, range(50), 4)) == [n * n for n in range(50)]
