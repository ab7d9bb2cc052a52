"""A scene lands where it was taken, whatever the heights, and says so where it does not."""

import dataclasses

import numpy as np
import pytest
import rasterio

from carbonmap import landscape
from carbonmap.errors import InputError, MissingInput, OutputExists
from carbonmap.io import raster, store
from carbonmap.landscape import county_grid
from carbonmap.quality import Quality
from carbonmap.stages.gf1 import register
from tests.scenes import GRID, RAW, STEEP, dem, ingest, make, read, texture

WAVE_PX = 120
"""Of the zigzag by which values tell places: ten counts from one pixel to the next."""

STEP = 0.2 / (WAVE_PX / 2)
"""Reflectance from one pixel to the next."""

TURN_PX = 6
"""Pixels around a zigzag's turns that tell nothing."""


def zigzag(at):
    """Values that rise and fall by `STEP`, and where they tell the place."""
    phase = np.mod(at, WAVE_PX) / (WAVE_PX / 2)
    off = np.abs(np.mod(at, WAVE_PX / 2) - WAVE_PX / 4)
    return 0.03 + 0.2 * np.abs(phase - 1), off < WAVE_PX / 4 - TURN_PX


def lattice(grid):
    return np.meshgrid(
        grid.row + np.arange(grid.height), grid.col + np.arange(grid.width), indexing="ij"
    )


def places(grid):
    """Blue tells the column, green the row; the rest is level."""
    rows, cols = lattice(grid)
    flat = np.full(grid.shape, 0.1)
    return np.stack([zigzag(cols)[0], zigzag(rows)[0], flat, flat]).astype(np.float32)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    return make(tmp_path_factory.mktemp("product"), places)


def errors_px(archive):
    """Distance, px, between where clear pixels lie and where they were taken."""
    grid, image, quality = read(archive)
    truth = places(grid)
    rows, cols = lattice(grid)
    clear = (quality == 0) & zigzag(rows)[1] & zigzag(cols)[1]
    assert clear.sum() > 15_000
    off = [(image[k] - truth[k])[clear] / STEP for k in (0, 1)]
    return np.hypot(*off)


def lines_of(product):
    with rasterio.open(next(product.glob("*.tiff"))) as image:
        return image.height


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def test_steep_land_lies_within_half_a_pixel_with_the_dem(product, tmp_path):
    dem(tmp_path / "archive")
    ingest(tmp_path / "archive", product)
    assert rms(errors_px(tmp_path / "archive")) < 0.5


def test_without_a_dem_it_is_off_by_dozens_of_pixels(product, tmp_path):
    options = dataclasses.replace(RAW, flat_height_m=2200.0)
    ingest(tmp_path / "archive", product, options=options)
    assert rms(errors_px(tmp_path / "archive")) > 10


def test_heights_over_the_geoid_need_its_own_height(product, tmp_path):
    """A geoid 60 m below the ellipsoid, as under Yunnan, is two pixels at 27°."""
    archive = tmp_path / "archive"
    dem(archive, heights="geoid", change=lambda z: z + 35)
    with pytest.raises(InputError, match="--geoid FILE"):
        ingest(archive, product)
    wide = GRID.padded(20)
    raster.write_tile(tmp_path / "geoid.tif", np.full(wide.shape, -35, np.float32), wide, np.nan)
    options = dataclasses.replace(RAW, geoid=tmp_path / "geoid.tif")
    ingest(archive, product, options=options)
    right = rms(errors_px(archive))
    wrong = dataclasses.replace(RAW, geoid=tmp_path / "none.tif")
    raster.write_tile(tmp_path / "none.tif", np.zeros(wide.shape, np.float32), wide, np.nan)
    ingest(archive, product, options=wrong, existing="overwrite")
    assert right < 0.5 < 1.0 < rms(errors_px(archive))


def test_a_geoid_that_does_not_reach_the_region_is_refused(product, tmp_path):
    dem(tmp_path / "archive", heights="geoid")
    part = GRID[0:50, 0:50]
    raster.write_tile(tmp_path / "geoid.tif", np.zeros(part.shape, np.float32), part, np.nan)
    options = dataclasses.replace(RAW, geoid=tmp_path / "geoid.tif")
    with pytest.raises(InputError, match="does not cover"):
        ingest(tmp_path / "archive", product, options=options)


def test_a_dem_is_no_geoid(product, tmp_path):
    dem(tmp_path / "archive", heights="geoid")
    options = dataclasses.replace(RAW, geoid=tmp_path / "dem.tif")
    with pytest.raises(InputError, match="is it a DEM"):
        ingest(tmp_path / "archive", product, options=options)


def test_no_dem_is_refused_by_name(product, tmp_path):
    with pytest.raises(MissingInput, match=r"ingest dem.*--flat-height"):
        ingest(tmp_path / "archive", product)


def test_a_dem_of_unknown_datum_is_refused_until_somebody_says(product, tmp_path):
    dem(tmp_path / "archive", heights=None)
    with pytest.raises(InputError, match="--heights"):
        ingest(tmp_path / "archive", product)
    options = dataclasses.replace(RAW, heights="ellipsoid")
    ingest(tmp_path / "archive", product, options=options)
    assert rms(errors_px(tmp_path / "archive")) < 0.5


@pytest.mark.parametrize(
    "hole", [(slice(90, 93), slice(100, 102)), (slice(0, 200), slice(110, 220))]
)
def test_a_hole_in_the_dem_is_refused_where_the_scene_has_land(product, tmp_path, hole):
    def torn(z):
        z = z.copy()
        z[hole] = np.nan
        return z

    dem(tmp_path / "archive", change=torn)
    with pytest.raises(InputError, match="no height"):
        ingest(tmp_path / "archive", product)
    assert not list((tmp_path / "archive").rglob("scene.json"))


def test_a_hole_beyond_the_scene_does_no_harm(tmp_path):
    """The region reaches further than the scene, and so does the DEM's hole."""
    product = make(tmp_path / "product", places, sensor="WFV3")
    wide = GRID.padded(250)

    def torn(z):
        z = z.copy()
        z[:40] = np.nan
        return z

    dem(tmp_path / "archive", grid=wide, change=torn)
    ingest(tmp_path / "archive", product, grid=wide)
    assert rms(errors_px(tmp_path / "archive")) < 0.5


def test_a_scene_off_the_region_is_refused(product, tmp_path):
    far = county_grid(60, 60, centre=(106.0, 26.4))
    dem(tmp_path / "archive", grid=far)
    with pytest.raises(InputError, match="off the region"):
        ingest(tmp_path / "archive", product, grid=far)


def test_threads_and_blocks_change_nothing(product, tmp_path, monkeypatch):
    results = []
    for number, (edge, threads) in enumerate([(1024, 1), (64, 3)]):
        monkeypatch.setattr(store, "CHUNK_PX", edge)
        archive = tmp_path / f"archive{number}"
        dem(archive)
        ingest(archive, product, threads=threads)
        results.append(read(archive))
    (_, image, quality), (grid, other, other_quality) = results
    rows, cols = GRID.roi_of(grid)
    assert np.array_equal(quality[rows, cols], other_quality)
    assert np.array_equal(image[:, rows, cols], other, equal_nan=True)


def test_a_shifted_scene_is_found_and_moved(tmp_path, monkeypatch):
    """The camera says three pixels east and two north of the truth; a reference tells."""
    archive = tmp_path / "archive"
    dem(archive)
    product = make(tmp_path / "product", texture, sensor="WFV3")
    rpb = next(product.glob("*.rpb"))
    text = rpb.read_text()
    name = "sampOffset = "
    value = float(text.split(name)[1].split(";")[0])
    rpb.write_text(text.replace(f"{name}{text.split(name)[1].split(';')[0]}", f"{name}{value + 3}"))
    reference = texture(GRID)[2]
    raster.write_tile(tmp_path / "reference.tif", reference, GRID, np.nan)
    options = dataclasses.replace(RAW, reference=str(tmp_path / "reference.tif"))
    monkeypatch.setattr(register, "PATCH_PX", 64)
    seen = ingest(archive, product, options=options).data["scenes"][0]["registration"]
    assert seen["aligned"] is False
    assert np.hypot(seen["move_east_m"], seen["move_north_m"]) == pytest.approx(48, abs=4)
    moved = dataclasses.replace(options, align=True)
    ingest(archive, product, options=moved, existing="overwrite")
    grid, image, quality = read(archive)
    truth = texture(grid)[2]
    clear = quality == 0
    aligned = np.corrcoef(image[2][clear], truth[clear])[0, 1]
    assert aligned > 0.97


def test_lost_lines_zeros_and_full_counts_are_nodata_with_a_reason(tmp_path):
    def values(grid):
        land = texture(grid)
        near = (np.abs(grid.y[:, None] - GRID.y[100]) < 80) & (np.abs(grid.x - GRID.x[60]) < 80)
        return np.where(near, np.float32(1.2), land)

    archive = tmp_path / "archive"
    dem(archive)
    product = make(tmp_path / "product", values, missing=((150, 154),))
    told = ingest(archive, product)
    (report,) = told.data["scenes"]
    _, image, quality = read(archive)
    assert f"  4 of {report['lines']:,} lines are lost" in str(told).splitlines()
    for bit in (Quality.MISSING_LINE, Quality.SATURATED):
        where = (quality & bit) > 0
        assert where.sum() > 50
        assert np.isnan(image[:, where]).all()
    assert np.isfinite(image[:, quality == 0]).all()
    assert (report["lost_lines"], report["lines"]) == (4, lines_of(product))
    assert report["pixels"]["missing_line"] == ((quality & Quality.MISSING_LINE) > 0).sum()


def test_a_scene_that_cannot_be_aligned_says_that_it_was_not_moved(product, tmp_path, monkeypatch):
    """The reference is of one tone, so no patch finds its place."""
    monkeypatch.setattr(register, "PATCH_PX", 64)
    archive = tmp_path / "archive"
    dem(archive)
    raster.write_tile(tmp_path / "reference.tif", np.ones(GRID.shape, np.float32), GRID, np.nan)
    options = dataclasses.replace(RAW, reference=str(tmp_path / "reference.tif"))
    for align, says in ((False, "place not checked: "), (True, "the scene was NOT moved, as --al")):
        one = dataclasses.replace(options, align=align)
        told = ingest(archive, product, options=one, existing="overwrite")
        (report,) = told.data["scenes"]
        assert report["registration"]["aligned"] is False
        assert report["registration"]["note"].startswith(says)
        assert report["registration"]["note"] in report["notes"]
        assert f"  {says}" in str(told)


def test_a_finished_scene_is_left_alone_and_other_settings_are_refused(product, tmp_path):
    archive = tmp_path / "archive"
    dem(archive)
    ingest(archive, product)
    before = {p: p.stat().st_mtime_ns for p in archive.rglob("*") if p.is_file()}
    again = ingest(archive, product)
    assert again.data["scenes"][0]["state"] == "up to date"
    assert before == {p: p.stat().st_mtime_ns for p in archive.rglob("*") if p.is_file()}
    with pytest.raises(OutputExists, match="resampling"):
        ingest(archive, product, options=dataclasses.replace(RAW, resampling="nearest"))


def test_steep_is_steep():
    """The tests above mean what they say only over such land."""
    land = landscape.elevation(GRID, STEEP)
    slope = np.degrees(np.arctan(np.hypot(*np.gradient(land, 16.0))))
    assert np.mean(slope) > 25
