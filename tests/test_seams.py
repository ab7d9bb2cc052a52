"""Steps across borders and beside them, against a walk over all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.composite import NO_SOURCE
from carbonmap.seams import HALO_PX, REACH_PX, seam_steps


def brute(values, source):
    """Every pair by itself: sums and counts, across and beside."""
    total = {True: [0.0, 0], False: [0.0, 0]}
    for turn in (False, True):
        v, s = (values.transpose(0, 2, 1), source.T) if turn else (values, source)
        rows, cols = s.shape
        for c in range(cols):
            valid = [NO_SOURCE not in (s[r, c], s[r + 1, c]) for r in range(rows - 1)]
            border = [valid[r] and s[r, c] != s[r + 1, c] for r in range(rows - 1)]
            for r in range(rows - 1):
                near = any(border[max(r - REACH_PX, 0) : r + REACH_PX + 1])
                if border[r] or (valid[r] and near):
                    held = total[border[r]]
                    held[0] += np.abs(np.float64(v[:, r + 1, c]) - v[:, r, c])
                    held[1] += 1
    return total


def drawn(seed, shape):
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 1, 2, NO_SOURCE], (shape[0] // 8 + 1, shape[1] // 8 + 1))
    source = np.kron(coarse, np.ones((8, 8), np.uint16))[: shape[0], : shape[1]].astype(np.uint16)
    values = rng.random((2, *shape)).astype(np.float32)
    values[:, source == NO_SOURCE] = np.nan
    return values, source


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 24), cols=st.integers(1, 30))
def test_steps_are_those_of_all_pairs(seed, rows, cols):
    values, source = drawn(seed, (rows, cols))
    got, want = seam_steps(values, source), brute(values, source)
    assert (got.across_count, got.within_count) == (want[True][1], want[False][1])
    np.testing.assert_allclose(got.across, want[True][0], atol=1e-12)
    np.testing.assert_allclose(got.within, want[False][0], atol=1e-12)


@given(seed=st.integers(0, 100), top=st.integers(1, 39), left=st.integers(1, 49))
def test_tiles_with_their_halo_add_up_to_the_whole(seed, top, left):
    values, source = drawn(seed, (40, 50))
    whole = seam_steps(values, source)
    around = ((HALO_PX, HALO_PX), (HALO_PX, HALO_PX))
    wide = np.pad(values, ((0, 0), *around), constant_values=np.nan)
    known = np.pad(source, around, constant_values=NO_SOURCE)
    total = None
    for r0, r1 in ((0, top), (top, 40)):
        for c0, c1 in ((0, left), (left, 50)):
            roi = slice(r0, r1 + 2 * HALO_PX), slice(c0, c1 + 2 * HALO_PX)
            part = seam_steps(wide[:, *roi], known[roi], HALO_PX)
            total = part if total is None else total + part
    assert (total.across_count, total.within_count) == (whole.across_count, whole.within_count)
    np.testing.assert_allclose(total.across, whole.across, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(total.within, whole.within, rtol=1e-9, atol=1e-12)


def test_a_step_between_two_scenes_is_told_from_a_slope():
    """A slope of 0.01 a pixel runs through both; the second scene lies 0.05 higher."""
    source = np.repeat([[0, 1]], 12, 1).repeat(6, 0).astype(np.uint16)
    values = (np.arange(24) * 0.01 + 0.05 * source)[None].astype(np.float64)
    steps = seam_steps(values, source)
    np.testing.assert_allclose([steps.mean_across[0], steps.mean_within[0]], [0.06, 0.01])
    assert abs(steps.ratio - 6) < 1e-6


def test_where_no_scenes_meet_there_is_no_ratio():
    steps = seam_steps(np.zeros((1, 5, 5)), np.zeros((5, 5), np.uint16))
    assert np.isnan(steps.ratio)
    assert np.isnan(steps.mean_across).all()
