"""Shadows of clouds: thrown by hand at known heights, by sun and view, and found again."""

import numpy as np
import pytest

from carbonmap.cloudshadow import Direction, ShadowSettings, dark_level, find_shadows

PIXEL_M = 64.0
SETTINGS = ShadowSettings()
OVERHEAD = Direction(0.0, 0.0)
SHAPE = (200, 220)


def degrees(zenith, azimuth):
    return Direction(np.deg2rad(zenith), np.deg2rad(azimuth))


def blobs(centres, radius=5, shape=SHAPE):
    row, col = np.indices(shape)
    return np.any([np.hypot(row - r, col - c) <= radius for r, c in centres], axis=0)


FIELD = [(60, 60), (70, 120), (110, 90), (140, 150), (100, 170)]


def moved(mask, rows, cols):
    """The mask moved down and right, nothing wrapped round."""
    out = np.zeros_like(mask)
    row, col = np.nonzero(mask)
    row, col = row + rows, col + cols
    inside = (row >= 0) & (row < mask.shape[0]) & (col >= 0) & (col < mask.shape[1])
    out[row[inside], col[inside]] = True
    return out


def found(cloud, dark, sun, view=OVERHEAD, land=None, settings=SETTINGS):
    land = np.ones(cloud.shape, bool) if land is None else land
    return find_shadows(cloud, dark, land, sun, view, PIXEL_M, settings)


@pytest.mark.parametrize(
    ("azimuth", "rows", "cols"), [(0, 1, 0), (90, 0, -1), (180, -1, 0), (270, 0, 1)]
)
def test_a_shadow_falls_away_from_the_sun_by_height_times_tangent(azimuth, rows, cols):
    cloud = blobs(FIELD)
    away = round(2000 * np.tan(np.deg2rad(45)) / PIXEL_M)
    dark = moved(cloud, rows * away, cols * away)
    got = found(cloud, dark, degrees(45, azimuth))
    assert np.array_equal(got.shadow, dark & ~cloud)
    assert got.height == pytest.approx(2000, abs=PIXEL_M)


def test_an_oblique_view_moves_the_cloud_away_from_the_satellite():
    """Sun in the east, satellite in the west: seen to the east, shadow to the west."""
    cloud = blobs(FIELD)
    rise = np.tan(np.deg2rad(40)) + np.tan(np.deg2rad(30))
    dark = moved(cloud, 0, -round(1500 * rise / PIXEL_M))
    got = found(cloud, dark, degrees(40, 90), degrees(30, 270))
    assert np.array_equal(got.shadow, dark & ~cloud)
    assert got.height == pytest.approx(1500, abs=PIXEL_M)


def test_no_shadow_shows_where_the_sun_stands_behind_the_satellite():
    cloud = blobs(FIELD)
    got = found(cloud, moved(cloud, 9, 9), degrees(30, 120), degrees(30, 120))
    assert not got.shadow.any()
    assert np.isnan(got.height).all()


def test_the_view_of_each_pixel_counts_where_it_is_given():
    cloud = blobs([(60, 50), (60, 170)])
    zenith = np.where(np.arange(SHAPE[1]) < 110, 0.0, np.deg2rad(30))
    view = Direction(np.broadcast_to(zenith, SHAPE), np.deg2rad(270))
    sun = np.tan(np.deg2rad(40))
    dark = moved(blobs([(60, 50)]), 0, -round(2000 * sun / PIXEL_M))
    dark |= moved(blobs([(60, 170)]), 0, -round(2000 * (sun + np.tan(np.deg2rad(30))) / PIXEL_M))
    got = found(cloud, dark, degrees(40, 90), view)
    assert got.height == pytest.approx(2000, abs=PIXEL_M)
    assert np.array_equal(got.shadow, dark)


def test_two_layers_keep_their_heights():
    low, high = blobs(FIELD[:3]), blobs([(150, 50), (160, 100), (165, 150)], 8)
    sun = degrees(45, 180)
    dark = moved(low, -16, 0) | moved(high, -62, 0)
    got = found(low | high, dark, sun)
    heights = [got.height[got.piece[r, c]] for r, c in [*FIELD[:3], (150, 50), (165, 150)]]
    assert heights == pytest.approx([1000] * 3 + [3968] * 2, abs=2 * PIXEL_M)


def test_a_tuft_in_dark_country_takes_its_neighbours_height():
    """A valley lies where a lower cloud would throw its shadow; five clouds float at one level."""
    tuft = blobs([(90, 130)], 1)
    cloud = blobs(FIELD) | tuft
    dark = moved(cloud, 0, -31)
    dark[40:160, 112:119] = True
    got = found(cloud, dark, degrees(45, 90))
    assert got.height[got.piece[90, 130]] == pytest.approx(2000, abs=PIXEL_M)


def test_land_without_shadow_gets_none():
    got = found(blobs(FIELD), np.zeros(SHAPE, bool), degrees(45, 180))
    assert not got.shadow.any()


def test_dark_country_all_round_proves_no_shadow():
    """Half of the land is dark by chance: nothing leads it."""
    dark = np.random.default_rng(0).random(SHAPE) < 0.5
    got = found(blobs(FIELD, 9), dark, degrees(45, 180))
    assert not got.shadow.any()


def test_terrain_shadow_is_no_evidence():
    cloud = blobs(FIELD)
    dark = moved(cloud, -31, 0)
    assert found(cloud, dark, degrees(45, 180)).shadow.any()
    got = found(cloud, dark, degrees(45, 180), land=~dark)
    assert not got.shadow.any()


def test_clouds_and_shadows_at_the_edge_are_cut_by_it():
    cloud = blobs([(2, 100), (198, 30), (100, 1), (100, 218), (3, 3), *FIELD])
    dark = moved(cloud, -31, 31) & ~cloud
    got = found(cloud, dark, degrees(np.rad2deg(np.arctan(31 * 2**0.5 * 64 / 2000)), 225))
    assert np.array_equal(got.shadow, dark)


def test_a_deck_wider_than_a_piece_throws_one_whole_shadow():
    cloud = np.zeros(SHAPE, bool)
    cloud[60:180, 40:180] = True
    dark = moved(cloud, -24, 0) & ~cloud
    got = found(cloud, dark, degrees(45, 180))
    assert np.array_equal(got.shadow, dark)


def test_no_cloud_throws_no_shadow():
    got = found(np.zeros(SHAPE, bool), np.ones(SHAPE, bool), degrees(45, 180))
    assert not got.shadow.any()
    assert got.height.size == 0


def test_the_search_does_not_depend_on_where_the_scene_is_cut_off_if_nothing_is_there():
    cloud = blobs(FIELD)
    dark = moved(cloud, -31, 0)
    whole = found(cloud, dark, degrees(45, 180)).shadow
    part = slice(20, 180), slice(0, 210)
    cut = found(cloud[part], dark[part], degrees(45, 180)).shadow
    assert np.array_equal(whole[part], cut)


def test_dark_is_what_keeps_less_than_its_share_of_the_land_around():
    nir = np.full(SHAPE, 0.3)
    nir[:, 110:] = 0.2
    nir[100, 50], nir[100, 180] = 0.15, 0.15  # dark beside 0.3, not beside 0.2
    level = dark_level(nir, np.zeros(SHAPE, bool), PIXEL_M, SETTINGS)
    assert level.dtype == np.float32
    assert level[100, 20] == pytest.approx(0.7 * 0.3, rel=1e-3)
    assert level[100, 200] == pytest.approx(0.7 * 0.2, rel=1e-3)
    assert np.argwhere((nir < level)[:, [50, 180]]).tolist() == [[100, 0]]


def test_clouds_holes_and_shadows_do_not_sway_what_is_dark():
    """In the second round; a third of the land in shadow would else lower the mean by a fifth."""
    nir = np.full(SHAPE, 0.3)
    nir[:, ::3] = 0.1
    nir[50:60, 50:60] = 0.7
    nir[80:90] = np.nan
    cloud = nir > 0.6
    level = dark_level(nir, cloud, PIXEL_M, SETTINGS)
    assert level == pytest.approx(0.7 * 0.3, rel=1e-6)


def test_where_there_is_no_land_nothing_is_dark():
    level = dark_level(np.full((9, 9), np.nan), np.zeros((9, 9), bool), PIXEL_M, SETTINGS)
    assert np.isnan(level).all()
