"""What was measured and what was not is the same for one file and for many."""

import math

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap import config
from carbonmap.errors import ConfigError, InputError
from carbonmap.grid import Grid
from carbonmap.io import mosaic, raster
from carbonmap.io.raster import Source
from carbonmap.lazy import open_stack
from carbonmap.stages import ingest
from carbonmap.stages.ingest import Warping
from carbonmap.tiles import tiles

GRID = Grid.covering((400000, 2900000, 400640, 2900640), "EPSG:32648", 16)
METHODS = ["nearest", "bilinear", "cubic", "average", "mode"]
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
LEFT, _, _, TOP = GRID.bounds
N = 40
"""Rows and columns of the grid."""


def write(path, data, at=(0, 0), pixel=16, nodata=None, mask=None, beside=False, tags=(1, 0)):
    """A band whose first pixel is at row, column `at` of a raster of that pixel at the corner."""
    where = from_origin(LEFT + at[1] * pixel, TOP - at[0] * pixel, pixel, pixel)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not beside),
        rasterio.open(
            path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1,
            dtype=data.dtype, crs=GRID.crs, transform=where, nodata=nodata,
        ) as out,
    ):  # fmt: skip
        out.write(data, 1)
        if mask is not None:
            out.write_mask(mask)
        if tags != (1, 0):
            out.scales, out.offsets = (tags[0],), (tags[1],)
    assert path.with_name(path.name + ".msk").exists() is (mask is not None and beside)
    return Source(path)


def read(sources, work, method="nearest", size=None):
    plan = mosaic.join(sources, GRID, work, method)
    out = np.full(GRID.shape, -1, np.float32)
    for tile in tiles(GRID, size or 1000):
        out[tile.roi] = plan.read(tile.grid)
    return out


def quarters(folder, data, mask=None, names="abcd", **more):
    """The same raster as four files, or as those named."""
    half = data.shape[0] // 2
    cuts = {
        name: (slice(r, r + half), slice(c, c + half))
        for name, (r, c) in zip("abcd", [(0, 0), (0, half), (half, 0), (half, half)], strict=True)
    }
    return [
        write(
            folder / f"{name}.tif", data[cuts[name]], (cuts[name][0].start, cuts[name][1].start),
            mask=None if mask is None else mask[cuts[name]], **more,
        )
        for name in names
    ]  # fmt: skip


def full_range(dtype, shape=(N, N)):
    """Values of which every one is data, the type's ends and 0 among them."""
    rng = np.random.default_rng(7)
    if dtype.startswith("float"):
        return rng.normal(0, 50, shape).round(2).astype(dtype)
    ends = np.iinfo(dtype)
    data = rng.integers(0, 100, shape).astype(dtype)
    data[::3], data[1::3, ::2], data[1::3, 1::4] = ends.min, ends.max, 0
    return data


@pytest.mark.parametrize("dtype", TYPES)
def test_land_without_a_file_is_unknown_whatever_values_the_files_hold(tmp_path, dtype):
    data = full_range(dtype)
    got = read(quarters(tmp_path, data, names="ad"), tmp_path)
    want = data.astype(np.float32)
    want[:20, 20:] = want[20:, :20] = np.nan
    np.testing.assert_array_equal(got, want)


def test_two_tiles_of_sevens_leave_the_other_corners_unknown(tmp_path):
    got = read(quarters(tmp_path, np.full((N, N), 7, np.uint8), names="ad"), tmp_path, "average")
    assert (got[:20, :20] == 7).all()
    assert np.isnan(got[:20, 20:]).all()
    assert np.nanmin(got) == np.nanmax(got) == 7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel", [7, 16, 25])
def test_a_gap_between_files_weighs_nothing_beside_it(tmp_path, pixel, method):
    """As if it were one raster, of a wider type with a value for nothing."""
    rows = 2 * round(N * 16 / pixel / 2)
    data = np.random.default_rng(2).integers(0, 256, (rows, rows)).astype(np.uint8)
    wide = data.astype(np.int32)
    wide[: rows // 2, rows // 2 :] = wide[rows // 2 :, : rows // 2] = 9999
    whole = write(tmp_path / "w.tif", wide, pixel=pixel, nodata=9999)
    parts = quarters(tmp_path, data, names="ad", pixel=pixel)
    want = read([whole], tmp_path / "one", method)
    assert np.isnan(want[:, 25:][:15]).all()
    for size in (None, 13):
        np.testing.assert_array_equal(read(parts, tmp_path / "many", method, size), want)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_mask_counts_in_many_files_as_in_one(tmp_path, dtype, beside):
    data = full_range(dtype)
    mask = np.where(np.random.default_rng(3).random((N, N)) < 0.3, 0, 255).astype(np.uint8)
    whole = write(tmp_path / "w.tif", data, mask=mask, beside=beside)
    parts = quarters(tmp_path, data, mask, beside=beside)
    want = np.where(mask > 0, data.astype(np.float32), np.nan)
    np.testing.assert_array_equal(read([whole], tmp_path), want)
    np.testing.assert_array_equal(read(parts, tmp_path), want)
    for method in ("bilinear", "average"):
        one = read([whole], tmp_path, method)
        np.testing.assert_array_equal(read(parts, tmp_path, method, 13), one)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_a_mask_and_a_value_for_nothing_count_together(tmp_path, dtype):
    data = np.random.default_rng(4).integers(0, 9, (N, N)).astype(dtype)
    mask = np.where(np.random.default_rng(3).random((N, N)) < 0.3, 0, 255).astype(np.uint8)
    for tag, given in ((5, None), (None, 5), (3, 5)):
        parts = [Source(s.path, nodata=given) for s in quarters(tmp_path, data, mask, nodata=tag)]
        want = np.where((mask > 0) & (data != 5), data, np.nan)
        np.testing.assert_array_equal(read(parts, tmp_path), want)
    under = write(tmp_path / "under.tif", np.full((N, N), 200, dtype), nodata=3)
    np.testing.assert_array_equal(
        read([*parts, Source(under.path, nodata=5)], tmp_path), np.where(np.isnan(want), 200, want)
    )


def test_a_mask_beside_a_file_is_part_of_what_it_was_made_from(tmp_path):
    data = np.ones((N, N), np.uint8)
    source = write(tmp_path / "a.tif", data, mask=data * 255, beside=True)
    before = raster.describe_source(source)
    write(tmp_path / "b.tif", data, mask=data * 0, beside=True)
    (tmp_path / "b.tif.msk").replace(tmp_path / "a.tif.msk")
    assert raster.describe_source(source) != before


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tag", [None, -9999, math.nan])
def test_nan_is_nothing_in_a_mean_whatever_the_tag(tmp_path, dtype, tag, many):
    """Four by four source pixels in each of the grid."""
    data = np.random.default_rng(6).integers(1, 40, (4 * N, 4 * N)).astype(dtype)
    data[np.random.default_rng(8).random(data.shape) < 0.2] = np.nan
    data[:16, :16] = np.nan
    blocks = data.reshape(N, 4, N, 4).astype(float)
    want = np.full(GRID.shape, np.nan)
    some = np.isfinite(blocks).any(axis=(1, 3))
    want[some] = np.nansum(blocks, axis=(1, 3))[some] / np.isfinite(blocks).sum(axis=(1, 3))[some]
    assert np.isnan(want).sum() == 16
    if tag == -9999:
        data[::2][np.isnan(data[::2])] = tag
    make = quarters if many else lambda folder, *a, **k: [write(folder / "w.tif", *a, **k)]
    sources = make(tmp_path, data, pixel=4, nodata=tag)
    np.testing.assert_allclose(read(sources, tmp_path, "average"), want, rtol=1e-6)


@pytest.mark.parametrize("tag", [None, -9999])
def test_under_nan_the_next_file_shows(tmp_path, tag):
    over, under = np.full((N, N), 3, np.float32), np.full((N, N), 8, np.float32)
    over[4:9] = np.nan
    if tag is not None:
        over[12:15] = tag
    sources = [write(tmp_path / f"{k}.tif", d, nodata=tag) for k, d in (("a", over), ("b", under))]
    plan = mosaic.join(sources, GRID, tmp_path, "nearest")
    assert len(plan.groups) == 1
    np.testing.assert_array_equal(plan.read(GRID), np.where(over == 3, 3, 8))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", np.finfo("float32").min), ("float64", np.finfo("float64").min),
     ("float32", -np.inf), ("int32", -(2**31)), ("uint16", 65535)],
)  # fmt: skip
def test_a_value_for_nothing_at_a_types_end_is_nothing(tmp_path, dtype, value):
    data = np.arange(N * N).reshape(N, N).astype(dtype)
    want = data.astype(np.float32)
    data[3, 4], want[3, 4] = value, np.nan
    whole = write(tmp_path / "w.tif", data, nodata=float(value))
    np.testing.assert_array_equal(read([whole], tmp_path), want)
    parts = quarters(tmp_path, data, nodata=float(value))
    np.testing.assert_array_equal(read(parts, tmp_path), want)


@pytest.mark.parametrize("value", [0.5, -1, 256, 1e300, math.inf, math.nan])
def test_a_value_that_a_type_cannot_hold_hides_none_of_its_own(tmp_path, value):
    data = full_range("uint8")
    source = Source(write(tmp_path / "a.tif", data).path, nodata=value)
    np.testing.assert_array_equal(read([source], tmp_path), data)


def test_a_type_that_is_no_number_on_a_map_is_refused_by_name(tmp_path):
    source = write(tmp_path / "a.tif", np.ones((N, N), np.complex64))
    with pytest.raises(InputError, match=r"a\.tif' holds complex64.*convert"):
        mosaic.join([source], GRID, tmp_path, "nearest")


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("left", [0, 100, 4000])
def test_a_damaged_file_is_named(tmp_path, dtype, left, many):
    data = full_range(dtype, (4 * N, 4 * N))
    make = quarters if many else lambda folder, *a, **k: [write(folder / "d.tif", *a, **k)]
    sources = make(tmp_path, data, nodata=5, pixel=4)
    plan = mosaic.join(sources, GRID, tmp_path, "nearest")
    assert len(plan.groups) == 1
    broken = sources[-1].path
    broken.write_bytes(broken.read_bytes()[:left])
    with pytest.raises(InputError, match=r"(?s)d\.tif.*damaged"):
        plan.read(GRID)


def elevations(folder, name="dem.tif"):
    """Stored 0 to 1599, which mean -20 to 139.9 m, with a value for nothing."""
    data = np.arange(N * N).reshape(N, N).astype(np.int16)
    data[7, 8] = -1
    metres = np.where(data == -1, np.nan, data * 0.1 - 20).astype(np.float32)
    return data, metres, write(folder / name, data, nodata=-1, tags=(0.1, -20))


def test_stored_numbers_are_read_as_what_they_mean(tmp_path):
    data, metres, whole = elevations(tmp_path)
    np.testing.assert_array_equal(read([whole], tmp_path), metres)
    parts = quarters(tmp_path, data, nodata=-1, tags=(0.1, -20))
    assert len(mosaic.join(parts, GRID, tmp_path, "nearest").groups) == 1
    np.testing.assert_array_equal(read(parts, tmp_path), metres)
    one = read([whole], tmp_path, "cubic")
    np.testing.assert_array_equal(read(parts, tmp_path, "cubic", 13), one)


def test_files_of_another_scale_are_not_read_by_the_firsts(tmp_path):
    data = np.full((N, N), 50, np.int16)
    a, _, _, d = quarters(tmp_path, data, tags=(0.1, 0))
    b, c = quarters(tmp_path, data, names="bc", tags=(1, 2))
    got = read([a, b, c, d], tmp_path, "bilinear")
    assert (got[:20, :20] == 5).all()
    assert (got[20:, 20:] == 5).all()
    assert (got[:20, 20:] == 52).all()


def test_what_a_files_tags_do_is_said_once_and_the_users_scale_acts_after_them(tmp_path):
    _, metres, source = elevations(tmp_path)
    report = ingest.ingest_layer(tmp_path / "archive", "demo", GRID, "dem", [source], Warping())
    (note,) = report.data["notes"]
    assert "× 0.1 + -20" in note
    assert note in report.text
    got = open_stack(tmp_path / "archive", "demo")["elevation"].values
    np.testing.assert_array_equal(got, metres)
    twice = Warping(nodata=5.0, scale=2.0, offset=1.0)  # 5 as stored: -19.5 m, in row 0, column 5
    ingest.ingest_layer(tmp_path / "other", "demo", GRID, "dem", [source], twice)
    got = open_stack(tmp_path / "other", "demo")["elevation"].values
    assert np.isnan(got[0, 5])
    assert got[0, 6] == pytest.approx(2 * (6 * 0.1 - 20) + 1, rel=1e-6)
    assert raster.check_source(write(tmp_path / "plain.tif", np.ones((N, N)))) is None


@pytest.mark.parametrize("tags", [(0, 3), (math.nan, 0), (1, math.inf)])
def test_a_scale_that_leaves_no_value_is_refused(tmp_path, tags):
    source = write(tmp_path / "a.tif", np.ones((N, N), np.uint8), tags=tags)
    with pytest.raises(InputError, match=r"a\.tif' has the scale .* gdal_edit"):
        raster.check_source(source)


def test_nan_can_be_named_as_the_value_for_nothing_and_nowhere_else(tmp_path):
    data = np.full((N, N), 12, np.float32)
    data[5] = np.nan
    source = write(tmp_path / "a.tif", data, nodata=12)
    warping = config.changed(Warping(), nodata=math.nan)
    ingest.ingest_layer(tmp_path, "demo", GRID, "canopy-height", [source], warping)
    np.testing.assert_array_equal(open_stack(tmp_path, "demo")["canopy_height"].values, data)
    for name in ("scale", "offset"):
        with pytest.raises(ConfigError, match=name):
            config.changed(Warping(), **{name: math.nan})
