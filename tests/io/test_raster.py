"""Reading and warping: exact where it must be, refused where it cannot be."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap import crs
from carbonmap.errors import GridError, GridMismatch, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import lattice, mosaic, raster
from carbonmap.io.raster import Source
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
    with raster.open_geotiff(path) as opened:
        for tile in tiles(GRID, size):
            out[tile.roi] = raster.warp(opened, 1, nodata, tile.grid, resampling)
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
    assert raster.pick_resampling(Source(path), GRID) == "bilinear"
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
    assert raster.pick_resampling(Source(path), GRID) == "average"
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
    other = Grid.covering(GRID.bounds, GRID.crs, 16, (8.0, 8.0))
    with pytest.raises(GridMismatch, match="not on the project grid"):
        lattice.read_on_grid(path, other)
