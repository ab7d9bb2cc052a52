"""Composing scenes: each pixel is the best one there is, and says whose it is."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from carbonmap.composite import NO_SOURCE, Candidate, Composite, Preference, compose, pixel_cost
from carbonmap.errors import GridMismatch
from carbonmap.quality import NOT_MEASURED, Quality

Q = Quality
PLAIN = Preference(edge_days=0)
"""No halo: what is beside a pixel does not matter."""


def same(one: Composite, other: Composite) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )


def drawn(rng, shape, count, halo, bands=2):
    """Scenes whose every fault occurs, with NaN where the quality says so."""
    flags = [0, 0, 0, *map(int, Quality), Q.CLOUD_SHADOW | Q.TERRAIN_SHADOW, 128 | 64]
    scenes = []
    for number in range(count):
        wide = (shape[0] + 2 * halo, shape[1] + 2 * halo)
        quality = rng.choice(flags, wide).astype(np.uint8)
        image = rng.random((bands, *shape)).astype(np.float32)
        core = quality[halo : halo + shape[0], halo : halo + shape[1]]
        image[:, (core & np.uint8(NOT_MEASURED)) != 0] = np.nan
        days, view = rng.integers(-2, 3), rng.choice([0, 10, 20])
        scenes.append(Candidate(number, image, quality, float(days), float(view)))
    return scenes


def brute(scenes, bands, shape, preference):
    """Pixel by pixel, by the words of the docstrings."""
    values = np.full((bands, *shape), np.nan, np.float32)
    source = np.full(shape, NO_SOURCE, np.uint16)
    quality = np.zeros(shape, np.uint8)
    never = NOT_MEASURED | Q.CLOUD | (Q(0) if preference.cloud_shadow else Q.CLOUD_SHADOW)
    halo = preference.halo
    for r, c in itertools.product(*map(range, shape)):
        best, why = None, 0
        for one in scenes:
            q = Q(int(one.quality[r + halo, c + halo]))
            why |= 0 if q & Q.OUTSIDE else q
            if q & never or not np.isfinite(one.image[:, r, c]).all():
                continue
            order = (bool(q & Q.CLOUD_SHADOW), bool(q & Q.TERRAIN_SHADOW), bool(q & Q.THIN_CLOUD))
            cost = np.float32(
                abs(one.days)
                + preference.view_days_per_deg * one.view_zenith_deg
                + preference.edge_days * brute_nearness(one.quality, r, c, halo)
            )
            if best is None or (order, cost, one.number) < best[0]:
                best = (order, cost, one.number), one, q
        if best is None:
            quality[r, c] = why or Q.OUTSIDE
        else:
            values[:, r, c], source[r, c], quality[r, c] = (
                best[1].image[:, r, c],
                best[0][2],
                best[2],
            )
    return Composite(values, source, quality)


def brute_nearness(quality, r, c, halo):
    """1 on a pixel whose surroundings are suspect, 0 a halo away from the nearest one."""
    if halo == 0:
        return 0.0
    suspect = Q.OUTSIDE | Q.MISSING_LINE | Q.CLOUD | Q.THIN_CLOUD | Q.CLOUD_SHADOW
    rows, cols = np.nonzero(quality & np.uint8(suspect))
    if rows.size == 0:
        return 0.0
    nearest = np.sqrt(((rows - r - halo) ** 2 + (cols - c - halo) ** 2).min())
    return 1 - min(nearest, halo) / halo


@given(
    seed=st.integers(0, 2**32), count=st.integers(0, 4), edge=st.booleans(), shadow=st.booleans()
)
def test_every_pixel_is_the_one_that_a_search_finds(seed, count, edge, shadow):
    preference = Preference(edge_days=8.0 * edge, edge_px=3, cloud_shadow=shadow)
    scenes = drawn(np.random.default_rng(seed), (4, 5), count, preference.halo)
    assert same(compose(scenes, 2, (4, 5), preference), brute(scenes, 2, (4, 5), preference))


@given(seed=st.integers(0, 2**32), data=st.data())
def test_the_order_in_which_scenes_come_changes_nothing(seed, data):
    preference = Preference(edge_px=3)
    scenes = drawn(np.random.default_rng(seed), (6, 6), 5, preference.halo)
    again = data.draw(st.permutations(scenes))
    assert same(compose(scenes, 2, (6, 6), preference), compose(iter(again), 2, (6, 6), preference))


@given(seed=st.integers(0, 2**32), top=st.integers(0, 20), left=st.integers(0, 20))
def test_a_tile_with_its_halo_is_part_of_the_whole(seed, top, left):
    preference = Preference(edge_px=5)
    halo = preference.halo
    rng = np.random.default_rng(seed)
    scenes = drawn(rng, (32, 34), 3, halo)
    for one in scenes:  # mostly clear, so that distances reach far
        one.quality[rng.random(one.quality.shape) < 0.97] = 0
        one.image[:] = np.where(np.isnan(one.image), 0.5, one.image)
    whole = compose(scenes, 2, (32, 34), preference)
    roi = slice(top, top + 12), slice(left, left + 14)
    wide = slice(top, top + 12 + 2 * halo), slice(left, left + 14 + 2 * halo)
    parts = [
        dataclasses.replace(s, image=s.image[:, *roi], quality=s.quality[wide]) for s in scenes
    ]
    cut = Composite(whole.values[:, *roi], whole.source[roi], whole.quality[roi])
    assert same(compose(parts, 2, (12, 14), preference), cut)


def flat(number, quality, days=0.0, view=0.0, value=None):
    """A scene of one pixel, whose value is its number."""
    image = np.full((1, 1, 1), number if value is None else value, np.float32)
    return Candidate(number, image, np.array([[quality]], np.uint8), days, view)


def test_quality_goes_before_date_and_date_before_nothing():
    ranked = [0, Q.THIN_CLOUD, Q.TERRAIN_SHADOW, Q.TERRAIN_SHADOW | Q.THIN_CLOUD]
    for better, worse in itertools.combinations(ranked, 2):
        scenes = [flat(0, worse, days=0), flat(1, better, days=15)]
        got = compose(scenes, 1, (1, 1), PLAIN)
        assert (got.source.item(), got.values.item(), got.quality.item()) == (1, 1.0, better)
    assert compose([flat(0, 0, -9), flat(1, 0, 8)], 1, (1, 1), PLAIN).source.item() == 1
    assert compose([flat(4, 0, 3), flat(2, 0, -3)], 1, (1, 1), PLAIN).source.item() == 2


def test_a_tilted_view_costs_as_many_days_as_the_preference_says():
    scenes = [flat(0, 0, days=0, view=10), flat(1, 0, days=5, view=0)]
    for per_deg, chosen in ((0.4, 0), (0.6, 1)):
        preference = Preference(view_days_per_deg=per_deg, edge_days=0)
        assert compose(scenes, 1, (1, 1), preference).source.item() == chosen


def test_cloud_in_every_scene_is_a_gap_that_says_why():
    got = compose([flat(0, Q.CLOUD), flat(1, Q.CLOUD | Q.THIN_CLOUD)], 1, (1, 1), PLAIN)
    assert got.source.item() == NO_SOURCE
    assert np.isnan(got.values.item())
    assert got.quality.item() == Q.CLOUD | Q.THIN_CLOUD
    got = compose([flat(0, Q.SATURATED), flat(1, Q.OUTSIDE)], 1, (1, 1), PLAIN)
    assert got.quality.item() == Q.SATURATED
    for nobody in ([], [flat(0, Q.OUTSIDE)], [flat(0, 0, value=np.nan)]):
        got = compose(nobody, 1, (1, 1), PLAIN)
        assert (got.source.item(), got.quality.item()) == (NO_SOURCE, Q.OUTSIDE)


def test_terrains_shadow_is_a_last_resort_and_a_clouds_shadow_only_where_asked_for():
    assert compose([flat(0, Q.TERRAIN_SHADOW)], 1, (1, 1), PLAIN).source.item() == 0
    shaded = [flat(0, Q.CLOUD_SHADOW), flat(1, Q.TERRAIN_SHADOW | Q.THIN_CLOUD, days=30)]
    accepting = Preference(edge_days=0, cloud_shadow=True)
    assert compose(shaded[:1], 1, (1, 1), PLAIN).source.item() == NO_SOURCE
    assert compose(shaded[:1], 1, (1, 1), accepting).source.item() == 0
    assert compose(shaded, 1, (1, 1), accepting).source.item() == 1


def test_between_two_scenes_of_a_day_the_border_runs_midway_between_their_edges():
    """Columns 0–29 and 10–39: the border lies at 20, as far from the one's edge as the other's."""
    preference = Preference(edge_px=16)
    halo = preference.halo
    scenes = []
    for number, (first, end) in enumerate(((0, 30), (10, 40))):
        quality = np.zeros((8 + 2 * halo, 40 + 2 * halo), np.uint8)
        beyond = np.ones(40, bool)
        beyond[first:end] = False
        quality[:, halo : halo + 40][:, beyond] = Q.OUTSIDE
        image = np.full((1, 8, 40), float(number), np.float32)
        image[:, :, beyond] = np.nan
        scenes.append(Candidate(number, image, quality, 0.0, 0.0))
    got = compose(scenes, 1, (8, 40), preference)
    np.testing.assert_array_equal(got.source, np.tile(np.arange(40) >= 20, (8, 1)))


def test_a_saturated_roof_spoils_nothing_beside_it():
    quality = np.zeros((9, 9), np.uint8)
    image = np.zeros((1, 3, 3), np.float32)
    preference = Preference(edge_px=3)
    for bit in Q:
        quality[4, 4] = bit
        harm = pixel_cost(Candidate(0, image, quality, 2.0, 0.0), preference)
        spreads = bit not in (Q.ZERO, Q.SATURATED, Q.TERRAIN_SHADOW)
        assert (harm[0, 1] > 2.0) is np.bool_(spreads), bit


def test_arrays_of_another_tile_are_refused_by_the_scenes_number():
    scene = flat(7, 0)
    with pytest.raises(GridMismatch, match="scene number 7"):
        compose([scene], 1, (1, 1), Preference())
    with pytest.raises(GridMismatch, match=r"want \(4, 1, 1\)"):
        compose([scene], 4, (1, 1), PLAIN)


@pytest.mark.parametrize("wrong", [{"edge_px": 0}, {"edge_days": -1.0}, {"shadow": True}])
def test_an_impossible_preference_is_refused(wrong):
    with pytest.raises((ValidationError, TypeError)):
        Preference(**wrong)
