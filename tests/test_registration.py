"""Shifts against a reference: fields at shifted places, noise, clouds, holes, and what is none."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import GridMismatch
from carbonmap.fields import field_key, fractal, smooth
from carbonmap.landscape import County, county_grid, image
from carbonmap.registration import (
    NO_SHIFT,
    MatchSettings,
    PatchShift,
    Shift,
    combine,
    patch_places,
    patch_shift,
)

SETTINGS = MatchSettings()
SIZE = 128


def field(seed, rows=0.0, cols=0.0, size=SIZE):
    """The texture of a place, seen through pixels that lie by so much further down and right."""
    y = np.arange(size) * 16.0
    return fractal(partial(smooth, y + rows * 16, y + cols * 16), 300.0, field_key(seed), 5, 0.7)


def clouds(seed):
    """30 % of a patch."""
    y = np.arange(SIZE) * 16.0
    cover = fractal(partial(smooth, y, y), 300.0, field_key(seed, "cloud"), 3)
    return cover > np.quantile(cover, 0.7)


def noise(seed, strength):
    return np.random.default_rng(seed).normal(0, strength, (SIZE, SIZE))


CHANGES = {
    "nothing": lambda scene, _: scene,
    "gain and offset": lambda scene, _: 3 * scene + 7,
    "reversed contrast": lambda scene, _: 5 - scene,
    "noise": lambda scene, seed: 0.5 * scene + noise(seed, 0.1),
    "clouds": lambda scene, seed: np.where(clouds(seed), 8.0, scene),
    "holes": lambda scene, seed: np.where(clouds(seed), np.nan, scene),
    "float32": lambda scene, _: scene.astype(np.float32),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", range(4))
def test_a_shift_comes_back_within_a_tenth_of_a_pixel_whatever_else_changed(change, seed):
    rows, cols = np.random.default_rng(seed).uniform(-6, 6, 2)
    got = patch_shift(field(seed), CHANGES[change](field(seed, rows, cols), seed), SETTINGS)
    assert (got.rows, got.cols) == pytest.approx((rows, cols), abs=0.1)
    assert got.confidence > SETTINGS.confidence


def test_a_scene_too_far_north_is_moved_down():
    """Oracle: numpy.roll, which moves an image down by its first number."""
    reference = field(1, size=160)
    scene = np.roll(reference, (-2, 3), (0, 1))
    got = patch_shift(reference[16:-16, 16:-16], scene[16:-16, 16:-16], SETTINGS)
    assert (got.rows, got.cols) == pytest.approx((2, -3), abs=0.05)


def test_swapping_scene_and_reference_turns_the_shift_round():
    there = patch_shift(field(2), field(2, 1.3, -0.4), SETTINGS)
    back = patch_shift(field(2, 1.3, -0.4), field(2), SETTINGS)
    assert (back.rows, back.cols) == pytest.approx((-there.rows, -there.cols), abs=0.1)


def test_patches_without_common_texture_are_not_accepted():
    found = [patch_shift(field(k), field(k + 1000), SETTINGS) for k in range(20)]
    assert max(one.confidence for one in found) < SETTINGS.confidence
    got = combine(found, SETTINGS)
    assert (got.rows, got.cols) == (None, None)
    assert "0 of 20 patches" in got.reason


@pytest.mark.parametrize("moving", [np.full((SIZE, SIZE), 0.1), np.full((SIZE, SIZE), np.nan)])
def test_one_tone_and_nothing_at_all_tell_nothing(moving):
    assert patch_shift(field(1), moving, SETTINGS) == NO_SHIFT
    assert patch_shift(moving, moving, SETTINGS) == NO_SHIFT


def test_a_patch_with_too_few_valid_pixels_is_passed_over():
    scene = field(1)
    scene[:70] = np.nan
    assert patch_shift(field(1), scene, SETTINGS) == NO_SHIFT
    scene = field(1)
    scene[:50] = np.nan
    assert patch_shift(field(1), scene, SETTINGS).rows == pytest.approx(0, abs=0.1)


def test_a_shift_past_what_is_believed_is_none():
    got = patch_shift(field(1), field(1, 9, 0), MatchSettings(most_px=8))
    assert got == NO_SHIFT
    assert patch_shift(field(1), field(1, 7, 0), MatchSettings(most_px=8)).rows == pytest.approx(
        7, abs=0.1
    )


def test_patches_of_two_shapes_are_refused():
    with pytest.raises(GridMismatch, match=r"\(128, 127\), want \(128, 128\)"):
        patch_shift(field(1), field(1)[:, :-1], SETTINGS)


@pytest.mark.parametrize("bands", [("red", "red"), ("red", "nir"), ("blue", "nir")])
def test_february_and_august_find_each_other_across_bands(bands):
    """Two seasons of one county, clouds and shadows left in; shifted by whole pixels."""
    grid, county = county_grid(512, 512), County()
    reference = image(grid, county, "2020-02")[bands[0]][:-2, :-1]
    scene = image(grid, county, "2020-08")[bands[1]][2:, 1:]
    places = patch_places(reference.shape, SIZE, 9)
    got = combine([patch_shift(reference[p], scene[p], SETTINGS) for p in places], SETTINGS)
    assert (got.rows, got.cols) == pytest.approx((2, 1), abs=0.15)
    assert got.patches >= 5


def agreeing(count, rows=1.5, cols=-0.5, sd=0.05):
    off = np.random.default_rng(0).normal(0, sd, (count, 2))
    return [PatchShift(rows + r, cols + c, 0.6) for r, c in off.tolist()]


def test_outliers_and_unsure_patches_do_not_sway_the_scene():
    wild = [PatchShift(12.0, 3.0, 0.9), PatchShift(-8.0, 0.0, 0.5), PatchShift(1.5, 9.0, 0.4)]
    unsure = [PatchShift(5.0, 5.0, 0.1)] * 30 + [NO_SHIFT] * 3
    calm = combine(agreeing(9), SETTINGS)
    got = combine([*wild, *agreeing(9), *unsure], SETTINGS)
    assert got == calm
    assert (got.rows, got.cols) == pytest.approx((1.5, -0.5), abs=0.05)
    assert got.patches == 9
    assert got.reason == ""


def test_the_spread_is_that_of_the_patches():
    assert combine(agreeing(2000, sd=0.2), SETTINGS).spread == pytest.approx(0.2, rel=0.1)


def test_a_spread_of_none_that_agree_is_none():
    narrow = MatchSettings(outlier=0.5)
    got = combine(agreeing(3, rows=9) + agreeing(3, rows=-9), narrow)
    assert (got.rows, got.spread, got.patches) == (None, None, 0)
    assert got.reason == "6 patches agree on no shift"
    assert combine([NO_SHIFT] * 9, narrow).spread is None


def test_the_order_of_patches_does_not_matter():
    patches = agreeing(11)
    assert combine(patches, SETTINGS) == combine(patches[::-1], SETTINGS)


@pytest.mark.parametrize(
    ("patches", "reason"),
    [
        ([], "0 of 0 patches"),
        (agreeing(4), "4 of 4 patches have a texture"),
        (agreeing(10, sd=6), "px, and one shift for the whole scene is no cure past 1 px"),
        (agreeing(5) + agreeing(5, rows=9), "the shifts of 10 patches scatter by 5."),
        (
            agreeing(5) + agreeing(3, rows=12) + agreeing(3, cols=12),
            "only 5 of 11 patches agree on a shift; 6 are needed",
        ),
    ],
)
def test_no_decision_says_why(patches, reason):
    got = combine(patches, SETTINGS)
    assert (got.rows, got.cols) == (None, None)
    assert reason in got.reason


def test_a_decision_is_a_plain_value():
    got = combine([PatchShift(2.0, -1.0, 0.5)] * 5, SETTINGS)
    assert got == Shift(2.0, -1.0, 0.0, 5)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 300), st.integers(1, 40))
def test_places_lie_inside_apart_and_as_many_as_there_is_room_for(height, width, size, count):
    places = patch_places((height, width), size, count)
    taken = np.zeros((height, width), int)
    for rows, cols in places:
        assert rows.stop - rows.start == cols.stop - cols.start == size
        assert 0 <= rows.start <= rows.stop <= height
        assert 0 <= cols.start <= cols.stop <= width
        taken[rows, cols] += 1
    assert taken.max() <= 1
    room = (height // size) * (width // size)
    assert min(count, room) <= len(places) <= room


def test_places_are_spread_over_the_whole_image():
    places = patch_places((1000, 2000), 100, 8)
    assert len(places) == 8
    assert {rows.start for rows, _ in places} == {200, 700}
    assert {cols.start for _, cols in places} == {200, 700, 1200, 1700}
