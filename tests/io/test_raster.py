"""Reading and warping: exact where it must be, refused where it cannot be."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.transform import from_origin

from carbonmap import crs
from carbonmap.cores import cpu_threads
from carbonmap.errors import GridError, GridMismatch, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import lattice, mosaic, raster
from carbonmap.io.raster import ByResolution, Source
from carbonmap.tiles import tiles

GRID = Grid.covering((400000, 2900000, 403200, 2902400), "EPSG:32648", 16)


def write(path, data, transform, crs="EPSG:32648", nodata=None, **more):
    data = np.atleast_3d(data.T).T if data.ndim == 2 else data
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[1], width=data.shape[2], count=data.shape[0],
        dtype=data.dtype, crs=crs, transform=transform, nodata=nodata, **more
    ) as out:  # fmt: skip
        out.write(data)
    return path


def geographic(tmp_path, seed=0, name="ll.tif", **more):
    west, _, _, north = crs.transform_bounds(GRID.crs, "EPSG:4326", GRID.bounds)
    data = np.random.default_rng(seed).integers(0, 40, (400, 420)).astype(np.uint8)
    data[100:140, 100:140] = 255
    step = 8.983e-5
    return write(
        tmp_path / name,
        data,
        from_origin(west - 0.003, north + 0.003, step, step),
        "EPSG:4326",
        255,
        **more,
    )


def on_grid(path, resampling, size, nodata=None):
    out = np.full(GRID.shape, -1, np.float32)
    plan = mosaic.join([Source(path, nodata=nodata)], GRID, path.parent, resampling)
    for tile in tiles(GRID, size):
        out[tile.roi] = plan.read(tile.grid)
    return out


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average", "mode"])
def test_warping_does_not_depend_on_chunk_shape(tmp_path, resampling):
    path = geographic(tmp_path)
    whole = on_grid(path, resampling, 10_000)
    assert np.isnan(whole).any()
    assert np.isfinite(whole).any()
    for size in (37, 64):
        np.testing.assert_array_equal(on_grid(path, resampling, size), whole)


def test_a_raster_on_the_grid_comes_through_unchanged(tmp_path):
    data = np.random.default_rng(1).integers(1, 60000, GRID.shape).astype(np.uint16)
    path = write(tmp_path / "a.tif", data, GRID.transform)
    assert ByResolution(times=1.0).pick(Source(path), GRID) == "bilinear"
    np.testing.assert_array_equal(on_grid(path, "bilinear", 64), data)


def test_averaging_is_the_mean_of_the_valid_heights(tmp_path):
    fine = (
        np.random.default_rng(2).integers(0, 40, (GRID.height * 4, GRID.width * 4)).astype(np.uint8)
    )
    fine[::3, ::5] = 255
    left, _, _, top = GRID.bounds
    path = write(tmp_path / "a.tif", fine, from_origin(left, top, 4, 4), nodata=255)
    blocks = fine.reshape(GRID.height, 4, GRID.width, 4).astype(float)
    blocks[blocks == 255] = np.nan
    assert ByResolution().pick(Source(path), GRID) == "average"
    np.testing.assert_allclose(
        on_grid(path, "average", 100), np.nanmean(blocks, axis=(1, 3)), rtol=1e-6
    )


def test_tiles_that_abut_are_one_raster_without_a_seam(tmp_path):
    whole = geographic(tmp_path)
    with rasterio.open(whole) as source:
        data, t = source.read(1), source.transform
    cuts = [
        (slice(0, 211), slice(0, 190)),
        (slice(0, 211), slice(190, 420)),
        (slice(211, 400), slice(0, 420)),
    ]
    parts = [
        Source(
            write(
                tmp_path / f"{k}.tif",
                data[c],
                t * t.translation(c[1].start, c[0].start),
                "EPSG:4326",
                255,
            )
        )
        for k, c in enumerate(cuts)
    ]
    one = mosaic.join([Source(whole)], GRID, tmp_path)
    many = mosaic.join(parts, GRID, tmp_path)
    assert len(many.groups) == 1
    np.testing.assert_array_equal(many.read(GRID), one.read(GRID))


def test_of_overlapping_sources_the_first_with_data_counts(tmp_path):
    first = np.full(GRID.shape, 7, np.uint8)
    first[:20] = 255
    a = Source(write(tmp_path / "a.tif", first, GRID.transform, nodata=255))
    b = Source(
        write(tmp_path / "b.tif", np.full(GRID.shape, 3, np.uint8), GRID.transform, nodata=255)
    )
    utm47 = crs.transform_bounds("EPSG:32648", "EPSG:32647", GRID.bounds)
    far = np.full((400, 400), 9, np.uint8)
    c = Source(
        write(
            tmp_path / "c.tif",
            far,
            from_origin(utm47[0] - 500, utm47[3] + 500, 16, 16),
            "EPSG:32647",
            255,
        )
    )
    for sources, top_value in (((a, b), 3), ((a, c), 9), ((a, c, b), 3)):
        got = mosaic.join(list(sources), GRID, tmp_path, "nearest").read(GRID)
        assert (got[:20] == top_value).all()
        assert (got[20:] == 7).all()


def sheet(path, pixel, value, east=0.0, nodata=255, crs_text="EPSG:32648"):
    """A raster of one value, `pixel` wide, whose west edge lies `east` metres from the grid's."""
    left, bottom, right, top = GRID.bounds
    shape = (math.ceil((top - bottom) / pixel), math.ceil((right - left) / 2 / pixel))
    data = np.full(shape, value, np.uint8)
    return Source(write(path, data, from_origin(left + east, top, pixel, pixel), crs_text, nodata))


def test_each_lattice_is_resampled_by_its_own_resolution(tmp_path):
    half = GRID.width * 8
    coarse, fine = sheet(tmp_path / "c.tif", 32, 7), sheet(tmp_path / "f.tif", 4, 3, half)
    for sources in ([coarse, fine], [fine, coarse]):
        plan = mosaic.join(sources, GRID, tmp_path)
        chosen = {g.path.name: g.resampling for g in plan.groups}
        assert chosen == {"c.tif": "bilinear", "f.tif": "average"}
    by_class = mosaic.join([coarse, fine], GRID, tmp_path, ByResolution("mode", "nearest", 1.0))
    assert [g.resampling for g in by_class.groups] == ["nearest", "mode"]
    forced = mosaic.join([coarse, fine], GRID, tmp_path, "cubic")
    assert [g.resampling for g in forced.groups] == ["cubic", "cubic"]


@pytest.mark.parametrize("turn", [0, 30, 45])
def test_a_pixel_is_as_large_as_its_area_however_its_raster_is_turned(tmp_path, turn):
    left, _, _, top = GRID.bounds
    transform = Affine.translation(left, top) * Affine.rotation(turn) * Affine.scale(12, -12)
    path = write(tmp_path / "a.tif", np.zeros((50, 80), np.uint8), transform)
    assert raster.pixel_edge(Source(path), GRID.crs) == pytest.approx(12, rel=1e-9)


def test_a_footprint_that_comes_out_turned_does_not_make_its_pixels_larger(tmp_path):
    """Far from a zone's meridian another zone's raster lies turned; its box grows, its pixels do
    not: at 10 m it is averaged, whatever its shape."""
    north = crs.transform_points("EPSG:4326", "EPSG:32648", np.array([117.0]), np.array([60.0]))
    edge = from_origin(float(north[0][0]), float(north[1][0]), 10, 10)
    path = write(tmp_path / "a.tif", np.zeros((9, 900), np.uint8), edge, "EPSG:32648")
    assert raster.pixel_edge(Source(path), "EPSG:32650") == pytest.approx(10, rel=0.03)
    away = Grid.covering((400000, 6600000, 403200, 6602400), "EPSG:32650", 16)
    assert ByResolution().pick(Source(path), away) == "average"


def test_files_that_are_not_north_up_are_never_joined(tmp_path):
    left, _, _, top = GRID.bounds
    data = np.random.default_rng(4).integers(1, 200, (60, 60)).astype(np.uint8)
    base = Affine.translation(left + 900, top - 300) * Affine.rotation(45) * Affine.scale(16, -16)
    whole = Source(write(tmp_path / "w.tif", data, base, nodata=0))
    cuts = [
        Source(
            write(
                tmp_path / f"{k}.tif", data[:, c], base * Affine.translation(c.start, 0), nodata=0
            )
        )
        for k, c in enumerate((slice(0, 30), slice(30, 60)))
    ]
    got = mosaic.join(cuts, GRID, tmp_path, "nearest").read(GRID)
    np.testing.assert_array_equal(got, mosaic.join([whole], GRID, tmp_path, "nearest").read(GRID))


def test_threads_are_the_cores_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 96)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cpu_threads() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cpu_threads() == 96


@pytest.mark.faults
def test_no_projection_asks_the_network_whatever_the_environment_says():
    code = (
        "import pyproj.network, os, carbonmap.io.vector as v; "
        "from carbonmap.io import raster; "
        "assert pyproj.network.is_network_enabled() is False; "
        "assert os.environ['PROJ_NETWORK'] == 'OFF'; "
        "assert all(v.pyogrio.get_gdal_config_option(k) is not None for k in raster.SAFE)"
    )
    environment = os.environ | {"PROJ_NETWORK": "ON"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nodata_given_by_hand_replaces_the_tag(tmp_path):
    path = write(
        tmp_path / "a.tif",
        np.array([[5, 99]], np.uint8).repeat(150, 0).repeat(100, 1),
        GRID.transform,
    )
    got = on_grid(path, "nearest", 64, nodata=99)
    assert (got[:, :100] == 5).all()
    assert np.isnan(got[:, 100:]).all()


def test_the_grid_of_a_raster_is_its_own(tmp_path):
    path = write(
        tmp_path / "a.tif", np.zeros((30, 40), np.uint8), from_origin(401234.5, 2901111.25, 30, 30)
    )
    grid = raster.grid_like(path)
    assert grid.transform == from_origin(401234.5, 2901111.25, 30, 30)
    assert (grid.shape, grid.crs) == ((30, 40), "EPSG:32648")


@pytest.mark.parametrize(
    ("transform", "crs_text", "error", "match"),
    [
        (from_origin(4e5, 3e6, 30, 20), "EPSG:32648", InputError, "square pixels"),
        (from_origin(103, 26, 0.01, 0.01), "EPSG:4326", GridError, "projected CRS in metres"),
        (from_origin(4e5, 3e6, 30, 30), None, InputError, "no CRS"),
    ],
)
def test_a_raster_that_cannot_be_a_grid_is_refused(tmp_path, transform, crs_text, error, match):
    path = write(tmp_path / "a.tif", np.zeros((3, 4), np.uint8), transform, crs_text)
    with pytest.raises(error, match=match):
        raster.grid_like(path)


def test_a_file_that_is_no_geotiff_is_refused_by_name(tmp_path):
    vrt = tmp_path / "image.tif"
    vrt.write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    with pytest.raises(InputError, match=r"image\.tif' is not a GeoTIFF"), raster.open_geotiff(vrt):
        pass
    for name in ("/vsicurl/http://x/y.tif", "https://x/y.tif"):
        with pytest.raises(InputError, match="an address"), raster.open_geotiff(name):
            pass
    with (
        pytest.raises(MissingInput, match="no such file"),
        raster.open_geotiff(tmp_path / "gone.tif"),
    ):
        pass


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_cut_short_is_named(tmp_path, share):
    data = np.random.default_rng(0).integers(0, 60000, (600, 600)).astype(np.uint16)
    path = write(
        tmp_path / "scene.tif", data, GRID.transform, tiled=True, blockxsize=128, blockysize=128
    )
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with (
        pytest.raises(InputError, match=r"scene\.tif.*(damaged|complete)"),
        raster.open_geotiff(path) as opened,
    ):
        opened.read(1)


@pytest.mark.faults
def test_an_old_chinese_datum_is_refused_and_cgcs2000_noted(tmp_path):
    """Row 15."""
    zeros = np.zeros((3, 4), np.uint8)
    for code in ("EPSG:2343", "EPSG:2422"):
        old = write(tmp_path / "old.tif", zeros, from_origin(4e5, 3e6, 30, 30), code)
        with pytest.raises(GridError, match="old Chinese datum"):
            raster.check_source(Source(old))
    new = write(tmp_path / "new.tif", zeros, from_origin(4e5, 3e6, 30, 30), "EPSG:4509")
    assert "CGCS2000" in raster.check_source(Source(new))


def test_a_raster_off_the_lattice_is_refused_and_one_on_it_is_read_anywhere(tmp_path):
    data = np.random.default_rng(3).random(GRID.shape).astype(np.float32)
    path = write(tmp_path / "a.tif", data, GRID.transform)
    got = lattice.read_on_grid(path, GRID.padded(5))
    np.testing.assert_array_equal(got[5:-5, 5:-5], data)
    assert np.isnan(got[:5]).all()
    np.testing.assert_array_equal(lattice.read_on_grid(path, GRID[7:20, 3:9]), data[7:20, 3:9])
    assert lattice.pixels_outside(path, GRID[7:20, 3:9]) == 0
    assert lattice.pixels_outside(path, GRID.padded(5)) == GRID.padded(5).size - GRID.size
    other = Grid.covering(GRID.bounds, GRID.crs, 16, (8.0, 8.0))
    with pytest.raises(GridMismatch, match="not on the project grid"):
        lattice.read_on_grid(path, other)
