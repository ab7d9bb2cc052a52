"""Dark-object subtraction: haze that was put on comes off."""

from __future__ import annotations

import numpy as np
import pytest

from carbonmap.darkobject import (
    DARK_REFLECTANCE,
    MIN_PIXELS,
    dark_object,
    subtract_haze,
)
from carbonmap.errors import InputError

GAIN = np.array([4e-4, 3e-4, 3e-4, 2.5e-4])

HAZE = np.array([0.08, 0.05, 0.03, 0.012])


def histogram(counts):
    """Of counts, shape ``(band, pixel)``."""
    return np.stack([np.bincount(band, minlength=2048) for band in counts])


def scene(dark=0.01, pixels=400_000):
    """Land of 3 to 40 %, 0.1 % of it dark, under the haze, in counts."""
    land = np.random.default_rng(0).uniform(0.03, 0.4, (4, pixels))
    land[:, : pixels // 1000] = np.reshape(dark, (-1, 1))
    return np.rint((land + HAZE[:, None]) / GAIN[:, None]).astype(int)


def test_haze_that_was_put_on_comes_off_to_half_a_count():
    found = dark_object(histogram(scene()), GAIN, np.zeros(4))
    np.testing.assert_allclose(found.path, HAZE, atol=GAIN.max() / 2)
    np.testing.assert_allclose(found.toa, found.count * GAIN)
    assert found.notes == ()


def test_nulls_and_a_few_freaks_do_not_pass_for_dark_land():
    counts = scene()
    counts[:, 1000:200_000] = 0
    counts[:, 200_000:200_020] = 3  # 0.01 % of the 201,000 valid pixels
    found = dark_object(histogram(counts), GAIN, np.zeros(4))
    np.testing.assert_allclose(found.path, HAZE, atol=GAIN.max() / 2)


def test_the_dark_object_is_the_first_count_past_the_share():
    bins = np.zeros((4, 10), dtype=int)
    bins[:, 0] = 10**6
    bins[:, 2], bins[:, 4], bins[:, 9] = 15, 6, 200_000 - 21
    assert dark_object(bins, GAIN, np.zeros(4)).count.tolist() == [4] * 4
    bins[:, 4], bins[:, 9] = 5, 200_000 - 20
    assert dark_object(bins, GAIN, np.zeros(4)).count.tolist() == [9] * 4


def test_bias_counts():
    found = dark_object(histogram(scene()), GAIN, np.array([0.0, 0.0, 0.0, 0.004]))
    assert found.toa[3] == pytest.approx(found.count[3] * GAIN[3] + 0.004)


def test_a_band_without_dark_land_takes_the_haze_of_the_band_before_it_and_says_so():
    found = dark_object(histogram(scene(dark=[0.01, 0.01, 0.01, 0.15])), GAIN, np.zeros(4))
    assert found.path[3] == found.path[2]
    (note,) = found.notes
    own = found.toa[3] - DARK_REFLECTANCE
    assert note.startswith(f"nir: the darkest land is {own:.3f} too bright, and haze brightens nir")
    assert "by no more than the 0.030 of red; so nir has no dark land" in note
    assert note.endswith("0.030 is taken off it too")
    assert (np.diff(found.path) <= 0).all()


def test_land_darker_than_dark_has_no_negative_haze():
    found = dark_object(histogram(scene(dark=-HAZE + 0.005)), GAIN, np.zeros(4))
    assert found.path.tolist() == [0, 0, 0, 0]
    assert len(found.notes) == 4
    assert "less than the 0.01 that it has without haze" in found.notes[0]


def test_a_scene_with_hardly_a_valid_pixel_is_refused():
    with pytest.raises(InputError, match=f"99,999 valid pixels.*{MIN_PIXELS:,}"):
        dark_object(histogram(scene(pixels=MIN_PIXELS - 1)), GAIN, np.zeros(4))


def test_the_dark_object_comes_out_at_one_percent_and_darker_land_below_zero():
    found = dark_object(histogram(scene()), GAIN, np.zeros(4))
    toa = found.toa[:, None, None] * np.ones((4, 2, 3), dtype=np.float32)
    got = subtract_haze(toa.astype(np.float32), found.path)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, DARK_REFLECTANCE, atol=1e-6)
    assert (subtract_haze(toa / 2, found.path)[0] < 0).all()
