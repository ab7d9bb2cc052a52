"""How models are judged: closed forms, on land whose truth and models are fields of noise."""

import json
import math
import tracemalloc

import numpy as np
import pytest
import shapely
import xarray as xr

from carbonmap import fields
from carbonmap.classes import Dummy
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.intervals import LEAST_REACH
from carbonmap.io import files
from carbonmap.splits import Role, SplitSpec, assign_blocks
from carbonmap.stages import timing
from carbonmap.stages.compare import facts, judge
from carbonmap.tiles import Tile

GRID = Grid("EPSG:32612", 10.0, 37, 113, 300, 260)
SIGMA = 20.0


def mean_at(grid):
    """What can be known of a place, Mg C/ha."""
    rows, cols = fields.places(grid)
    return 100 + 30 * np.sin(rows / 40) + 30 * np.cos(cols / 50)


def drawn_at(grid, key):
    return mean_at(grid) + SIGMA * fields.normal(*fields.places(grid), key)


STAND_PX = (35, 45)
"""Height and width of a stand: no divisor of a block's, so that many lie in two blocks or four."""

STANDS = np.array([
    shapely.box(*GRID[top : top + STAND_PX[0], left : left + STAND_PX[1]].bounds)
    for top in range(0, GRID.height, STAND_PX[0])
    for left in range(0, GRID.width, STAND_PX[1])
])  # fmt: skip


class Land:
    """Labels of exactly the distribution that the model below draws from, half of them held out."""

    grid = GRID

    def stands(self, grid):
        rows, cols = fields.places(grid)
        inside = (rows >= 37) & (rows < 337) & (cols >= 113) & (cols < 373)
        down, right = (rows - 37) // STAND_PX[0], (cols - 113) // STAND_PX[1]
        return np.where(inside, down * -(-GRID.width // STAND_PX[1]) + right, -1)

    def candidates(self, tile, role):
        stand = self.stands(tile.grid)
        mine = (stand >= 0) & (stand % 2 == 0) & (role is Role.VALIDATION)
        return mine, drawn_at(tile.grid, 0).astype(np.float32)


class Perfect:
    """A perfect sampler, or one whose draws are `wide` times too wide."""

    layers, halo, pixel_m, scale, generative = (), 0, 10.0, 400.0, True

    def __init__(self, wide=1.0):
        self.wide = wide

    def draws(self, _layers, grid, count, _wanted=None):
        mean = mean_at(grid)
        many = np.stack([drawn_at(grid, k) for k in range(1, count + 1)])
        return (mean + self.wide * (many - mean)).astype(np.float32)

    def predict(self, layers, grid):
        return self.draws(layers, grid, 8).mean(0)


class Blind(Perfect):
    """A model whose layers are known nowhere."""

    def draws(self, _layers, grid, count, _wanted=None):
        return np.full((count, *grid.shape), np.nan, np.float32)


def ground(images=1, split_m=500.0, dummy=80.0):
    stack = xr.Dataset(coords={"y": np.arange(300), "x": np.arange(260)})
    blocks = assign_blocks(STANDS, SplitSpec(block_m=split_m), GRID.anchor)
    return judge.Ground(Land(), [stack] * images, 400.0, blocks, Dummy(1, dummy))


def judged(model=None, draws=32, **more):
    verdict = judge.judge("it", model or Perfect(), ground(**more), draws)
    return files.plain(facts.to_json(verdict, 400.0)), verdict


def test_a_perfect_samplers_figures_are_the_closed_forms():
    found, _ = judged()
    pixels = found["one"]["pixels"]
    sure = 4 / math.sqrt(2 * pixels)  # four standard errors of an RMSE, relative
    one, few = found["one"]["rmse_mg_c_ha"], found["mean"]["rmse_mg_c_ha"]
    assert one == pytest.approx(SIGMA * math.sqrt(2), rel=sure)
    assert few == pytest.approx(SIGMA * math.sqrt(1 + 1 / 8), rel=sure)
    assert found["ensemble"]["mean"]["rmse_mg_c_ha"] == pytest.approx(
        SIGMA * math.sqrt(1 + 1 / 32), rel=sure
    )
    # CRPS of a normal: σ / √π, and of K draws E|x − y| more by σ / (K √π)
    crps = SIGMA / math.sqrt(math.pi) * (1 + 1 / 32)
    assert found["ensemble"]["crps_mg_c_ha"] == pytest.approx(crps, rel=0.02)
    assert found["ensemble"]["coverage_90"] == pytest.approx(0.9, abs=0.006)
    assert found["ensemble"]["spread_skill"] == pytest.approx(1, abs=0.02)
    held = found["interval"]
    assert held["coverage"] == pytest.approx(0.9, abs=0.006)
    assert held["effective_pixels"] > 1000
    assert held["k"] == pytest.approx([0.97, 0.97], abs=0.03)  # 32 draws' own hold 90.8 %
    assert found["one"]["rmse_bootstrap"]["value"] == pytest.approx(one, rel=1e-9)
    assert found["mean"]["rmse_bootstrap"]["value"] == pytest.approx(few, rel=1e-6)


def test_draws_too_wide_are_found_out_and_k_mends_their_intervals():
    found, _ = judged(Perfect(2.0))
    assert found["ensemble"]["coverage_90"] > 0.98
    assert found["ensemble"]["spread_skill"] == pytest.approx(
        2 * math.sqrt((1 + 1 / 32) / (1 + 4 / 32)), rel=0.02
    )
    assert found["interval"]["coverage"] == pytest.approx(0.9, abs=0.006)
    few = SIGMA * math.sqrt(1 + 4 / 8)
    assert found["mean"]["rmse_mg_c_ha"] == pytest.approx(few, rel=0.02)


def test_bias_by_the_map_is_none_where_by_the_labels_it_is_drawn_to_the_middle():
    found, _ = judged(draws=32)
    by_truth = [c["bias_mg_c_ha"] for c in found["classes"] if c["pixels"] > 500]
    by_map = [c["bias_mg_c_ha"] for c in found["classes_by_map"] if c["pixels"] > 500]
    assert by_truth[0] > 5 > -5 > by_truth[-1]
    assert max(map(abs, by_map)) < 2  # the mean of 32 still has a 32nd of the draws' variance


def test_a_verdict_does_not_depend_on_tiles(monkeypatch):
    _, whole = judged(draws=8)
    monkeypatch.setattr(judge, "TILE_PX", 64)
    _, parts = judged(draws=8)
    np.testing.assert_allclose(whole.pixels.table, parts.pixels.table)
    for name in ("one", "mean", "whole", "by_truth", "by_map", "baseline"):
        one, other = (getattr(v, name) for v in (whole, parts))
        figures = [
            json.loads(json.dumps(v.to_json() if name.startswith("by") else v.to_json(400.0)))
            for v in (one, other)
        ]
        assert flat(figures[0]) == pytest.approx(flat(figures[1]), rel=1e-9, nan_ok=True), name


def flat(value):
    """Numbers of nested plain values, in order."""
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    if isinstance(value, list):
        return [x for v in value for x in flat(v)]
    return [math.nan if value is None else value]


def test_single_pixels_are_bounded_and_the_same_for_any_tiles(monkeypatch):
    monkeypatch.setattr(judge, "KEPT_PX", 5000)
    _, whole = judged(draws=8)
    monkeypatch.setattr(judge, "TILE_PX", 64)
    _, parts = judged(draws=8)
    assert len(whole.pixels.table) == 5000
    np.testing.assert_allclose(whole.pixels.table, parts.pixels.table)


def test_a_second_image_is_judged_like_the_first():
    one, two = judged(draws=8)[1], judged(draws=8, images=2)[1]
    assert two.one.errors.count == 2 * one.one.errors.count
    assert two.baseline.count == 2 * one.baseline.count
    assert two.one.errors.rmse == pytest.approx(one.one.errors.rmse)


def test_the_two_halves_of_an_interval_share_no_block_of_the_split():
    pixels = judged(draws=8)[1].pixels
    parts = [set(pixels.column("part")[half].tolist()) for half in (pixels.halves, ~pixels.halves)]
    assert all(parts)
    assert not parts[0] & parts[1]


def test_no_stand_lies_in_both_halves_of_an_interval():
    """Not even one that straddles two held-out blocks."""
    pixels = judged(draws=8)[1].pixels
    lots = fields.uniform(*fields.places(GRID), fields.field_key(0, "kept")).ravel()
    order = np.argsort(lots)
    place = order[np.searchsorted(lots[order], pixels.column("lot"))]
    stand = Land().stands(GRID).ravel()[place]
    rows, cols = (at.ravel()[place] for at in judge.blocks(GRID, 500.0))
    spread = {s: np.ptp(rows[stand == s]) + np.ptp(cols[stand == s]) for s in set(stand.tolist())}
    assert sum(apart > 0 for apart in spread.values()) > 5
    assert not set(stand[pixels.halves].tolist()) & set(stand[~pixels.halves].tolist())


def test_one_block_held_out_has_no_k_and_says_why():
    found, _ = judged(draws=8, split_m=1e6)
    assert found["interval"]["k"] is None
    assert "one block" in found["interval"]["why"]


def test_draws_that_agree_reach_as_far_as_they_err_in_units_of_the_least_reach():
    found, verdict = judged(Perfect(0.0), draws=8)
    error = np.abs(verdict.pixels.column("truth") - verdict.pixels.column("mean"))
    want = np.quantile(error, 0.9) / LEAST_REACH
    assert found["interval"]["k"] == pytest.approx([want, want], rel=0.05)


def test_a_model_of_which_no_held_out_pixel_is_known_is_refused_by_name():
    with pytest.raises(ModelError, match=r"model 'it' has no held-out pixel"):
        judged(Blind())


def test_scores_in_strips_are_those_of_the_tile(monkeypatch):
    whole = judged(draws=8)[1].whole
    monkeypatch.setattr(judge, "STRIP", 7 * 8 * GRID.width)
    strips = judged(draws=8)[1].whole
    assert strips.ranks == pytest.approx(whole.ranks)
    assert strips.crps == pytest.approx(whole.crps, rel=1e-12)


def test_pixels_in_strips_have_the_figures_of_their_draws(monkeypatch):
    whole = judged(draws=16)[1].pixels
    monkeypatch.setattr(judge, "STRIP", 16 * 999)
    np.testing.assert_array_equal(judged(draws=16)[1].pixels.table, whole.table)
    held, _ = Land().candidates(Tile("all", np.s_[:, :], GRID), Role.VALIDATION)
    lots = fields.uniform(*fields.places(GRID), fields.field_key(0, "kept"))[held]
    drawn = Perfect().draws({}, GRID, 16)[:, held][:, np.argsort(lots)].astype(np.float64)
    np.testing.assert_array_equal(whole.column("one"), drawn[0])
    np.testing.assert_allclose(whole.column("few"), drawn[:8].mean(0))
    np.testing.assert_allclose(whole.column("mean"), drawn.mean(0))
    np.testing.assert_allclose(whole.column("below"), drawn.std(0, ddof=1))


def test_what_is_kept_of_a_tiles_draws_takes_little_memory_besides_them(monkeypatch):
    monkeypatch.setattr(judge, "KEPT_PX", 1000)
    monkeypatch.setattr(judge, "STRIP", 1 << 14)
    land, drawn = ground(), Perfect().draws({}, GRID, 64)
    truth = drawn_at(GRID, 0).astype(np.float32)
    tracemalloc.start()
    try:
        held = judge.pixels_of(drawn, truth, GRID, land)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(held.table) == 1000
    assert peak < drawn.nbytes / 2


@pytest.mark.parametrize(("edge", "shape"), [(64, (64, 64)), (256, (256, 256)), (999, (300, 260))])
def test_land_to_be_shown_lies_in_the_region_and_has_its_whole_edge(edge, shape):
    part = timing.spot(Land(), edge)
    assert part.shape == shape
    assert part.intersection(GRID) == part


def test_seconds_are_told_for_a_whole_tile(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(timing, "clock", lambda _: lambda: next(ticks))
    part = GRID[:128, :128]
    found = timing.seconds({"a": Perfect(), "b": Perfect()}, ground().stacks[0], GRID, part, "cpu")
    assert found == {"a": 4.0, "b": 4.0}
