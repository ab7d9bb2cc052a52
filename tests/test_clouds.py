"""Clouds: thresholds in closed form, objects, tiles that equal the whole, real and drawn scenes."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from carbonmap.clouds import (
    FACTOR,
    CloudMap,
    CloudSettings,
    cloud_candidates,
    detect,
    haze,
    is_water,
    reduce,
    refine,
)
from carbonmap.cloudshadow import Direction
from carbonmap.errors import GridError
from carbonmap.landscape import County, clouds, county_grid, image, shadows
from carbonmap.quality import Quality, has

BANDS = ("blue", "green", "red", "nir")
SETTINGS = CloudSettings()
OVERHEAD = Direction(0.0, 0.0)
DATA = Path(__file__).parents[1] / "../shared/data"

PATH = {"blue": 0.08, "green": 0.05, "red": 0.03, "nir": 0.015}
"""Light that the air itself scatters over clear land of a plateau, reflectance."""

CLOUD, FOREST, SOIL = (0.5, 0.5, 0.5, 0.5), (0.10, 0.09, 0.06, 0.28), (0.15, 0.16, 0.20, 0.27)
HAZE, LAKE, SHADOW = (0.19, 0.16, 0.12, 0.30), (0.12, 0.10, 0.06, 0.03), (0.09, 0.07, 0.04, 0.09)


def pixels(*spectra):
    """One row of pixels."""
    return dict(zip(BANDS, np.array(spectra, np.float32).T[:, None, :], strict=True))


def filled(shape, spectrum):
    return {b: np.full(shape, v, np.float32) for b, v in zip(BANDS, spectrum, strict=True)}


def paint(toa, roi, spectrum):
    for band, value in zip(BANDS, spectrum, strict=True):
        toa[band][roi] = value


def test_the_haze_index_is_blue_less_half_of_red():
    assert haze(pixels((0.3, 0, 0.2, 0))).item() == pytest.approx(0.2)


def test_cloud_is_thick_haze_thin_and_land_neither():
    thick, thin = cloud_candidates(pixels(CLOUD, HAZE, FOREST, SOIL, LAKE, SHADOW), SETTINGS)
    assert thick.tolist() == [[True, False, False, False, False, False]]
    assert thin.tolist() == [[False, True, False, False, False, False]]


@pytest.mark.parametrize(
    "spectrum",
    [
        (0.23, 0.23, 0.23, 0.4),  # haze index 0.115
        (0.21, 0.19, 0.17, 0.4),  # mean 0.19
        (0.32, 0.32, 0.2, 0.4),  # ratio 0.625
        (0.3, 0.3, 0.3, 0.14),  # NIR of turbid water
    ],
)
def test_each_threshold_holds_back_what_the_others_let_pass(spectrum):
    assert not cloud_candidates(pixels(spectrum), SETTINGS)[0].any()


@given(st.tuples(*[st.floats(0, 1.25, width=32)] * 4))
def test_no_pixel_is_thick_and_thin(spectrum):
    thick, thin = cloud_candidates(pixels(spectrum), SETTINGS)
    assert not (thick & thin).any()


@given(st.floats(0.25, 1.2))
def test_whatever_is_bright_and_grey_is_cloud(level):
    assert cloud_candidates(pixels((level,) * 4), SETTINGS)[0].all()


@pytest.mark.parametrize("band", range(4))
def test_a_pixel_with_a_band_missing_is_no_candidate(band):
    spectra = np.array([CLOUD, HAZE])
    spectra[:, band] = np.nan
    thick, thin = cloud_candidates(pixels(*spectra), SETTINGS)
    assert not thick.any()
    assert not thin.any()


def test_a_saturated_cloud_is_a_cloud_in_every_year_of_every_sensor():
    """The full count of 1023 at overhead sun is the least that a saturated cloud can show."""
    path = DATA / "gf1_wfv3" / "gf1_wfv_coefficients.json"
    if not path.exists():
        pytest.skip("the calibration tables (../shared/data/gf1_wfv3) are not here")
    table = json.loads(path.read_text("utf-8"))
    suns = next(iter(table["esun_W_m-2_um-1"].values()))
    full = [
        np.pi * (1023 * np.array(row["gain"]) + row["bias"]) / suns[sensor]
        for sensor, years in table["gain_bias"].items()
        for year, row in years.items()
        if year != "2013"  # its gains are inverse
    ]
    assert len(full) == 40
    thick, _ = cloud_candidates(pixels(*full), SETTINGS)
    assert thick.all()


def test_water_is_told_from_shadow():
    water = is_water(pixels(LAKE, SHADOW, FOREST, SOIL, CLOUD, (np.nan,) * 4), SETTINGS)
    assert water.tolist() == [[True, False, False, False, False, False]]


@given(st.integers(1, 17), st.integers(1, 17), st.integers(1, 6), st.integers(0, 99))
def test_block_means_are_those_of_what_is_known(height, width, factor, seed):
    """Oracle: numpy.nanmean of every block."""
    rng = np.random.default_rng(seed)
    values = rng.random((height, width))
    values[rng.random(values.shape) < 0.3] = np.nan
    got = reduce(values, factor)
    assert got.dtype == np.float32
    assert got.shape == (-(-height // factor), -(-width // factor))
    for r, c in np.ndindex(got.shape):
        block = values[r * factor : (r + 1) * factor, c * factor : (c + 1) * factor]
        want = np.nan if np.isnan(block).all() else np.nanmean(block)
        np.testing.assert_allclose(got[r, c], want, rtol=1e-6)


def test_a_tile_of_whole_blocks_reduces_to_the_blocks_of_the_whole():
    values = np.random.default_rng(1).random((40, 36)).astype(np.float32)
    assert np.array_equal(reduce(values[8:24, 12:36]), reduce(values)[2:6, 3:9])


def test_shares_of_a_mask_are_its_block_means():
    assert reduce(np.eye(4, dtype=bool)).item() == 0.25


def test_single_blocks_are_dropped_and_pairs_kept():
    toa = filled((30, 30), FOREST)
    paint(toa, (5, 5), CLOUD)
    paint(toa, ([20, 21], [20, 21]), CLOUD)
    got = detect(toa, Direction(0.5, 0.0), OVERHEAD, 64.0, SETTINGS)
    assert np.argwhere(got.cloud).tolist() == [[20, 20], [21, 21]]
    assert got.thin[5, 5]  # still nothing to build an image from


def test_haze_over_all_of_a_scene_is_no_thin_cloud_but_a_bank_is():
    even = detect(filled((30, 30), HAZE), OVERHEAD, OVERHEAD, 64.0, SETTINGS)
    assert not even.thin.any()
    toa = filled((30, 30), FOREST)
    paint(toa, np.s_[:, :8], HAZE)
    bank = detect(toa, OVERHEAD, OVERHEAD, 64.0, SETTINGS)
    assert bank.thin[:, :8].all()
    assert not bank.thin[:, 8:].any()


def cumulus():
    """Two clouds at 1,280 m under a sun 45° high in the east, and a lake."""
    toa = filled((90, 90), FOREST)
    paint(toa, np.s_[60:80, 30:45], LAKE)
    for r, c in [(20, 60), (50, 70)]:
        paint(toa, np.s_[r : r + 8, c - 20 : c - 10], SHADOW)
        paint(toa, np.s_[r : r + 8, c : c + 10], CLOUD)
    return toa


EAST = Direction(np.pi / 4, np.pi / 2)


def test_a_scene_shows_its_clouds_and_their_shadows():
    toa = cumulus()
    got = detect(toa, EAST, OVERHEAD, 64.0, SETTINGS)
    assert np.array_equal(got.cloud, toa["nir"] == np.float32(0.5))
    assert np.array_equal(got.shadow, toa["nir"] == np.float32(0.09))


def test_a_lake_in_the_way_is_no_clouds_shadow():
    toa = filled((90, 90), FOREST)
    paint(toa, np.s_[20:28, 60:70], CLOUD)
    paint(toa, np.s_[10:40, 30:55], LAKE)
    assert not detect(toa, EAST, OVERHEAD, 64.0, SETTINGS).shadow.any()


def test_terrain_shadow_is_no_clouds_shadow():
    toa = cumulus()
    dark = toa["nir"] < 0.1
    got = detect(toa, EAST, OVERHEAD, 64.0, SETTINGS, terrain_shadow=dark)
    assert not got.shadow.any()


@pytest.mark.parametrize(("spectrum", "cloudy"), [(CLOUD, 1), (FOREST, 0), ((np.nan,) * 4, 0)])
def test_a_scene_of_one_kind_is_judged_without_a_warning(spectrum, cloudy):
    got = detect(filled((20, 20), spectrum), EAST, OVERHEAD, 64.0, SETTINGS)
    assert got.cloud.mean() == cloudy
    assert not got.shadow.any()


def test_layers_of_two_shapes_are_refused_by_name():
    toa = filled((20, 20), FOREST)
    with pytest.raises(GridError, match=r"terrain shadow has shape \(19, 20\)"):
        detect(toa, EAST, OVERHEAD, 64.0, SETTINGS, terrain_shadow=np.zeros((19, 20), bool))


MONTHS = ("2020-02", "2020-05", "2020-08", "2020-11")


@lru_cache(maxsize=1)
def simulated(seed, month, size=768):
    """Reflectance at the top of the air, clouds and shadows that are there, and the sun."""
    grid, county = county_grid(size, size), County(seed=seed)
    surface, season = image(grid, county, month), county.season(month)
    toa = {band: surface[band] + np.float32(PATH[band]) for band in BANDS}
    sun = Direction(np.deg2rad(season.sun_zenith_deg), np.deg2rad(season.sun_azimuth_deg))
    return toa, clouds(grid, county, month), shadows(grid, county, month), sun, county


def judged(toa, sun):
    reduced = {band: reduce(toa[band]) for band in BANDS}
    return detect(reduced, sun, OVERHEAD, 16.0 * FACTOR, SETTINGS)


def thrown(cloud, sun, county):
    """Shadows of the clouds inside the image alone."""
    away = county.cloud_height_m / 16.0
    east, north = (float(o) * away for o in sun.offset())
    out = np.zeros_like(cloud)
    row, col = np.nonzero(cloud)
    row, col = row + round(north), col - round(east)
    inside = (row >= 0) & (row < cloud.shape[0]) & (col >= 0) & (col < cloud.shape[1])
    out[row[inside], col[inside]] = True
    return out


def recall(got, want):
    return (got & want).sum() / want.sum()


@pytest.mark.parametrize("seed", [26, 7])
@pytest.mark.parametrize("month", MONTHS)
def test_clouds_and_shadows_of_simulated_scenes_are_found(month, seed):
    """Recall of every pixel; precision leaves out 2 px around the truth, which the buffer takes.

    Shadows whose cloud is beyond the image cannot be found and are left out. The relief is left
    unmasked: in November half of the slopes are darker than a thin shadow.
    """
    toa, cloud, shadow, sun, county = simulated(seed, month)
    bits = refine(toa, judged(toa, sun), (0, 0), SETTINGS)
    got = has(bits, Quality.CLOUD)
    assert recall(got, cloud) > 0.995
    assert recall(cloud, got) > 0.8  # the buffer again
    around = ndimage.binary_dilation(cloud, iterations=3)
    assert (got & ~around).sum() == 0

    own = thrown(cloud, sun, county) & ~got
    strange = shadow & ~own
    got = has(bits, Quality.CLOUD_SHADOW) & ~strange
    assert recall(got, own) > 0.9
    assert recall(own, got) > 0.7
    assert recall(ndimage.binary_dilation(own, iterations=2), got) > 0.8


def test_without_its_buffer_the_cloud_mask_is_the_cloud():
    toa, cloud, _, sun, _ = simulated(26, "2020-08")
    bits = refine(toa, judged(toa, sun), (0, 0), CloudSettings(buffer_px=0))
    got = has(bits, Quality.CLOUD)
    assert recall(got, cloud) > 0.995
    assert recall(cloud, got) > 0.999


@given(st.data())
def test_any_tile_with_its_halo_equals_the_whole(data):
    toa, _, _, sun, _ = simulated(7, "2020-08", 256)
    scene, halo = judged(toa, sun), SETTINGS.buffer_px
    whole = refine(toa, scene, (0, 0), SETTINGS)
    row, col = (data.draw(st.integers(0, 250)) for _ in range(2))
    rows, cols = slice(row, row + data.draw(st.integers(1, 90))), slice(col, col + 37)
    padded = {
        band: np.pad(layer, halo, constant_values=np.nan)[
            rows.start : min(rows.stop, 256) + 2 * halo, cols.start : min(cols.stop, 256) + 2 * halo
        ]
        for band, layer in toa.items()
    }
    tile = refine(padded, scene, (row - halo, col - halo), SETTINGS)
    assert np.array_equal(tile[halo:-halo, halo:-halo], whole[rows, cols])


def one_block_map(**masks):
    """A scene of 3 × 3 blocks, flags at the middle one."""
    middle = np.zeros((3, 3), bool)
    middle[1, 1] = True
    flags = {name: middle & masks.get(name, False) for name in ("cloud", "thin", "shadow")}
    return CloudMap(**flags, dark=np.full((3, 3), 0.15, np.float32), factor=FACTOR)


def test_candidates_that_the_scene_does_not_confirm_are_dropped():
    toa = filled((12, 12), CLOUD)
    assert not refine(toa, one_block_map(), (0, 0), SETTINGS).any()
    assert (refine(toa, one_block_map(cloud=True), (0, 0), SETTINGS) == Quality.CLOUD).all()
    assert (refine(toa, one_block_map(thin=True), (0, 0), SETTINGS) == Quality.THIN_CLOUD).all()


def test_shadow_ends_where_the_land_is_bright_again_and_water_has_none():
    toa = filled((12, 12), SHADOW)
    paint(toa, np.s_[:, 6:], FOREST)
    paint(toa, np.s_[8:, :], LAKE)
    bits = refine(toa, one_block_map(shadow=True), (0, 0), CloudSettings(buffer_px=0))
    want = np.zeros((12, 12), bool)
    want[:8, :6] = True
    assert np.array_equal(bits == Quality.CLOUD_SHADOW, want)
    assert not bits[~want].any()


def test_the_buffer_is_a_disc():
    toa = filled((12, 12), FOREST)
    paint(toa, (6, 6), CLOUD)
    bits = refine(toa, one_block_map(cloud=True), (0, 0), CloudSettings(buffer_px=3))
    row, col = np.indices(bits.shape)
    assert np.array_equal(bits == Quality.CLOUD, np.hypot(row - 6, col - 6) <= 3)


def test_nothing_is_said_of_land_beyond_the_scene_or_not_measured():
    toa = filled((12, 12), CLOUD)
    assert not refine(toa, one_block_map(cloud=True), (100, -40), SETTINGS).any()
    toa["nir"][5, 5] = np.nan
    bits = refine(toa, one_block_map(cloud=True), (0, 0), SETTINGS)
    assert bits[5, 5] == 0
    assert bits[5, 6] == Quality.CLOUD


def test_no_desert_rock_is_taken_for_cloud():
    """A clear Landsat scene with white and red sandstone, 30 m; sun 58.5° high."""
    if not (DATA / "zion").exists():
        pytest.skip("the real Landsat scene (../shared/data/zion) is not here")
    toa = {}
    for band, number in zip(BANDS, (2, 3, 4, 5), strict=True):
        with rasterio.open(DATA / "zion" / f"landsat_b{number}.tif") as file:
            counts = file.read(1).astype(np.float32)
        toa[band] = (counts * np.float32(2e-5) - np.float32(0.1)) / np.float32(0.853)
    sun = Direction(np.deg2rad(31.5), np.deg2rad(138.0))
    scene = detect({b: reduce(toa[b], 2) for b in BANDS}, sun, OVERHEAD, 60.0, SETTINGS, factor=2)
    assert not refine(toa, scene, (0, 0), SETTINGS).any()
    thick, thin = cloud_candidates(toa, SETTINGS)
    assert not thick.any()
    assert thin.mean() < 1e-5
