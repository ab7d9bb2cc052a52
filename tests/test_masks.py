"""Forest masks: from thresholds, from classes, and which of them a command accepts."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap import masks
from carbonmap.errors import GridMismatch, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import maps
from carbonmap.io.raster import Source
from carbonmap.io.store import LayerInfo
from carbonmap.masks import FOREST, NON_FOREST, UNKNOWN, Threshold
from carbonmap.stages import mask
from tests.archives import GRID, image, keep


def classes(path, data, pixel=16.0, east=0.0, nodata=0):
    left, _, _, top = GRID.bounds
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1,
        dtype="uint8", crs=GRID.crs, transform=from_origin(left + east, top, pixel, pixel),
        nodata=nodata,
    ) as out:  # fmt: skip
        out.write(data.astype(np.uint8), 1)
    return Source(path)


def read(path):
    with rasterio.open(path) as source:
        return source.read(1)


@pytest.fixture
def forest(tmp_path):
    """A finished mask of the whole grid, and what it says."""
    drawn = np.random.default_rng(0).choice([0, 41, 42, 81], GRID.shape)
    out = tmp_path / "forest.tif"
    mask.layer_mask(GRID, [classes(tmp_path / "c.tif", drawn)], [41, 42], out, threads=1)
    codes = {0: UNKNOWN, 41: FOREST, 42: FOREST, 81: NON_FOREST}
    return out, np.vectorize(codes.get)(drawn)


def test_land_is_forest_where_it_is_tall_and_green_enough():
    height = np.array([[4.9, 5.0, 30.0, np.nan, 30.0]], np.float32)
    green = np.array([[0.9, 0.2, 0.1, 0.9, np.nan]], np.float32)
    got = masks.threshold_mask(height, green, Threshold(5.0, 0.2))
    assert got.tolist() == [[NON_FOREST, FOREST, NON_FOREST, UNKNOWN, UNKNOWN]]


def test_ndvi_is_the_normalised_difference_and_unknown_where_both_are_zero():
    got = masks.ndvi(np.array([[1.0, 0.0, np.nan]]), np.array([[3.0, 0.0, 1.0]]))
    np.testing.assert_array_equal(got, [[0.5, np.nan, np.nan]])


def test_classes_become_forest_other_land_and_unknown(forest):
    path, known = forest
    np.testing.assert_array_equal(read(path), known)


def test_of_several_class_rasters_each_is_resampled_by_its_own_resolution(tmp_path):
    """West is coarse; east is 4 m, its forest a ring of 12 in 16 around the nearest pixels."""
    half = GRID.width // 2
    coarse = np.full((GRID.height // 2 + 1, half // 2), 81)
    block = np.full((4, 4), 41)
    block[1:3, 1:3] = 81
    fine = np.tile(block, (GRID.height, half))
    west = classes(tmp_path / "w.tif", coarse, 32)
    east = classes(tmp_path / "e.tif", fine, 4, half * 16)
    for order, sources in enumerate(([west, east], [east, west])):
        out = tmp_path / f"m{order}.tif"
        mask.layer_mask(GRID, sources, [41], out)
        got = read(out)
        assert (got[:, :half] == NON_FOREST).all()
        assert (got[:, half:] == FOREST).all()


def test_another_nodata_is_another_mask(tmp_path, forest):
    path, _ = forest
    other = Source(tmp_path / "c.tif", nodata=81)
    with pytest.raises(FileExistsError, match="nodata"):
        mask.layer_mask(GRID, [other], [41, 42], path)


@pytest.mark.parametrize(
    ("sources", "codes", "match"),
    [([], [41], "no class raster was named"), (["c.tif"], [], "no forest class was named")],
)
def test_a_mask_of_nothing_is_refused(tmp_path, sources, codes, match):
    sources = [classes(tmp_path / name, np.ones(GRID.shape)) for name in sources]
    with pytest.raises(InputError, match=match):
        mask.layer_mask(GRID, sources, codes, tmp_path / "m.tif")
    assert not (tmp_path / "m.tif").exists()


def test_a_threshold_mask_needs_one_image_with_both_bands(tmp_path):
    keep(tmp_path, LayerInfo("canopy_height", GRID, (), "m", "mean canopy height"), 12)
    keep(tmp_path, image("2020-02-10", ("red", "nir")), 1)
    keep(tmp_path, image("2020-05-15", ("blue", "red")), 1)
    out = tmp_path / "m.tif"
    for dates, match in [((), "name one, as in --dates"), (["2020-05"], "no band nir")]:
        with pytest.raises(MissingInput, match=match):
            mask.threshold_mask(tmp_path, "demo", dates, Threshold(), out)
    mask.threshold_mask(tmp_path, "demo", ["2020-02"], Threshold(5, 0.3), out)
    assert (read(out) == FOREST).all()  # NDVI of 1 and 2 is a third


def test_a_mask_of_the_whole_region_is_accepted_and_of_its_parts(forest):
    mask.check_mask(forest[0], GRID)
    mask.check_mask(forest[0], GRID[3:30, 5:20])
    mask.check_mask(None, GRID)


def test_a_mask_that_ends_inside_the_region_is_refused_with_what_it_lacks(forest):
    """One corner of the grid lies on the mask; its last ten columns do not."""
    wide = Grid(GRID.crs, 16, GRID.row, GRID.col, GRID.height, GRID.width + 10)
    with pytest.raises(InputError, match=r"lacks 300 of the region's 1,500 pixels \(20\.0%\)"):
        mask.check_mask(forest[0], wide)


def test_a_mask_off_the_lattice_unfinished_or_of_another_kind_is_refused(forest):
    path, _ = forest
    with pytest.raises(GridMismatch, match="--mask"):
        mask.check_mask(path, Grid.covering(GRID.bounds, GRID.crs, 16, (8.0, 8.0)))
    with rasterio.open(path.with_name("other.tif"), "w", **rasterio.open(path).profile) as other:
        other.write(read(path), 1)
    maps.mark_of(path).rename(maps.mark_of(path.with_name("other.tif")))
    with pytest.raises(MissingInput, match="incomplete"):
        mask.check_mask(path, GRID)
