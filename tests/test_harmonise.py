"""Harmonising: scenes of one land agree where they meet, and keep the radiometry they had."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from carbonmap.harmonise import Harmonising, Harmony, solve
from carbonmap.overlaps import Fit, Samples
from carbonmap.seams import seam_steps
from tests.mosaics import BANDS, clouded, composed, layout

HOW = Harmonising()


def seam(scenes, harmony=None):
    """The ratio of steps across borders to those beside them, of clean scenes composed."""
    images = [harmony.apply(n, i) if harmony else i for n, i in enumerate(scenes.images)]
    got = composed(images, scenes.qualities)
    return seam_steps(got.values, got.source).ratio


def deviation(scenes, harmony):
    """How far each harmonised scene is from the truth on average, ``(scene, band)``."""
    return np.array(
        [
            np.nanmean(harmony.apply(n, image) - scenes.truth, axis=(1, 2))
            for n, image in enumerate(scenes.images)
        ]
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twelve_scenes_meet_without_a_seam(seed):
    """The issue's bound is 1.1; before, borders were steps of several times the texture."""
    scenes = layout(3, 4, seed)
    harmony = solve(scenes.samples(), HOW)
    assert seam(scenes) > 2
    assert seam(scenes, harmony) < 1.05
    assert np.abs(harmony.after).max() < 0.001
    assert np.abs(harmony.before).max() > 0.03


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tenth_of_each_scene_changed_or_clouded_moves_no_scene(seed):
    scenes = layout(3, 4, seed)
    rng = np.random.default_rng(seed)
    spoilt = [clouded(i, rng, 0.1) for i in scenes.images]
    harmony = solve(dataclasses.replace(scenes, images=spoilt).samples(), HOW)
    assert seam(scenes, harmony) < 1.05
    kept = sum(link.kept for link in harmony.links) / sum(link.pixels for link in harmony.links)
    assert 0.75 < kept < 0.85  # 0.9² is what both see clean


def test_gains_and_offsets_are_the_known_ones_up_to_one_for_all():
    """Without noise the answer is closed: the truth's, up to one line a band."""
    scenes = layout(2, 3, 4, noise=0.0)
    weak = Harmonising(gain_sd=10.0, offset_sd=10.0)
    harmony = solve(scenes.samples(), weak)
    gain = harmony.gain / scenes.gain
    np.testing.assert_allclose(gain, gain[:1].repeat(6, 0), rtol=1e-4)
    moved = harmony.offset - gain * scenes.offset
    np.testing.assert_allclose(moved, moved[:1].repeat(6, 0), atol=2e-5)


@pytest.mark.parametrize(("rows", "cols"), [(3, 4), (1, 12)])
def test_the_gauge_holds(rows, cols):
    scenes = layout(rows, cols, 5)
    samples = scenes.samples()
    # parts of unequal size, so that the area counts
    samples[0] = Samples(samples[0].place[::3], samples[0].values[::3])
    harmony = solve(samples, HOW)
    area = np.array([len(s.values) for s in samples])
    np.testing.assert_allclose(np.average(harmony.gain, axis=0, weights=area), 1, rtol=1e-12)
    np.testing.assert_allclose(np.average(harmony.offset, axis=0, weights=area), 0, atol=1e-14)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_chain_of_twelve_does_not_drift(seed):
    """Twelve scenes of one truth stay within a hundredth of each other from end to end."""
    scenes = layout(1, 12, seed)
    harmony = solve(scenes.samples(), HOW)
    assert np.ptp(deviation(scenes, harmony), axis=0).max() < 0.01
    assert seam(scenes, harmony) < 1.1


def test_a_difference_that_every_link_repeats_fades_and_does_not_add_up():
    """Each scene brightens by 0.004 from west to east, as views to the side make it: followed
    from link to link, the last scene would come out 0.044 darker than it is."""
    scenes = layout(1, 12, 6)
    for n, image in enumerate(scenes.images):
        image[:] = scenes.truth + 0 * image
        image += np.float32(0.004 / 88) * (np.arange(image.shape[2]) - 88 * n)
    harmony = solve(scenes.samples(), HOW)
    moved = np.ptp(deviation(scenes, harmony), axis=0)
    assert (moved < 0.03).all()


def test_groups_that_do_not_meet_keep_each_its_own_mean():
    """Six scenes in the west, six in the east, whose land is 0.1 brighter for good."""
    west, east = layout(2, 3, 7), layout(2, 3, 8)
    samples = west.samples()
    for s in east.samples():
        far = s.place + np.array([0, 10_000])
        samples.append(Samples(far, s.values + np.float32(0.1)))
    harmony = solve(samples, HOW)
    assert harmony.group.tolist() == [0] * 6 + [1] * 6
    alone = solve(west.samples(), HOW)
    np.testing.assert_allclose(harmony.gain[:6], alone.gain, rtol=1e-9)
    np.testing.assert_allclose(harmony.offset[:6], alone.offset, atol=1e-12)
    for part in (slice(0, 6), slice(6, 12)):
        area = [len(s.values) for s in samples[part]]
        np.testing.assert_allclose(np.average(harmony.gain[part], axis=0, weights=area), 1)


def test_a_scene_that_meets_no_other_stays_as_it_is():
    scenes = layout(1, 3, 9)
    samples = scenes.samples()
    samples[2] = Samples(samples[2].place + 50_000, samples[2].values)
    samples.append(Samples(np.empty((0, 2), np.int64), np.empty((0, BANDS), np.float32)))
    harmony = solve(samples, HOW)
    assert len(harmony.links) == 1
    np.testing.assert_array_equal(harmony.gain[2:], 1)
    np.testing.assert_allclose(harmony.offset[2:], 0, atol=1e-17)
    image = scenes.images[2]
    np.testing.assert_allclose(harmony.apply(2, image), image, rtol=1e-6)


def test_no_scene_and_one_scene_are_in_harmony():
    assert solve([], HOW).gain.shape == (0, 0)
    (one,) = layout(1, 1, 1).samples()
    harmony = solve([one], HOW)
    assert (harmony.gain.tolist(), harmony.offset.tolist()) == ([[1.0, 1.0]], [[0.0, 0.0]])


@given(order=st.permutations(range(4)))
def test_scenes_given_in_another_order_get_the_same_gains(order):
    samples = layout(2, 2, 10, size=60, step=40).samples()
    straight, turned = solve(samples, HOW), solve([samples[n] for n in order], HOW)
    np.testing.assert_allclose(turned.gain, straight.gain[list(order)], rtol=1e-9)
    np.testing.assert_allclose(turned.offset, straight.offset[list(order)], atol=1e-11)


def test_an_overlap_that_does_not_correlate_tells_no_gain():
    """Two scenes of noise: spreads differ by two, and mean nothing; the means still count."""
    rng = np.random.default_rng(0)
    place = np.argwhere(np.ones((40, 40)))
    one = Samples(place, rng.normal(0.2, 0.01, (1600, 1)).astype(np.float32))
    other = Samples(place, rng.normal(0.22, 0.02, (1600, 1)).astype(np.float32))
    harmony = solve([one, other], HOW)
    np.testing.assert_allclose(harmony.gain, 1, atol=0.05)
    assert abs(harmony.after.item()) < 0.001


def test_a_report_is_plain_and_an_image_stays_float32():
    scenes = layout(1, 2, 1)
    harmony = solve(scenes.samples(), HOW)
    told = json.loads(json.dumps(harmony.to_json()))
    assert told["links"][0]["scenes"] == [0, 1]
    assert harmony.apply(0, scenes.images[0]).dtype == np.float32
    assert isinstance(harmony, Harmony)


@pytest.mark.parametrize("wrong", [{"gain_sd": 0.0}, {"fit": {"trim": 0.5}}, {"spread": 1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises((ValidationError, TypeError)):
        Harmonising(**wrong)
    assert Harmonising(fit=Fit(trim=2.5)).fit.trim == 2.5
