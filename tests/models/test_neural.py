import dataclasses
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from carbonmap.blending import FULL, nothing, weights
from carbonmap.diffusion.noise import field
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.learning.diffusion import Diffusion
from carbonmap.learning.regression import Regression
from carbonmap.models import neural
from carbonmap.models.neural import Neural, as_batch, ready
from carbonmap.models.protocol import Generative, Model
from carbonmap.models.windows import PERIOD_PX, halo, windows
from carbonmap.networks.specs import UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.normalise import Inputs, Normalisation
from carbonmap.tiles import tiles
from tests import learners

INPUTS = Inputs(("image", "terrain"))
BANDS = len(INPUTS.channels)
NORM = Normalisation((50.0,) * (BANDS - 1), (30.0,) * (BANDS - 1))
GRID = Grid("EPSG:32612", 30.0, row=-41, col=990, height=70, width=90)


def regression():
    """With statistics of its own, and a map that neither is flat nor leaves the range."""
    torch.manual_seed(0)
    net = Unet(UnetSpec(BANDS, (4, 8)))
    nn.init.normal_(net.last.weight, std=0.2)
    nn.init.zeros_(net.last.bias)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        net(torch.randn(8, BANDS, 32, 32))
    return Regression(net)


def diffusion():
    return Diffusion(learners.answering(BANDS, 0.1), DiffusionSpec(steps=2))


@dataclasses.dataclass(frozen=True)
class Echo:
    """Gives back what it was asked with: a band's own value, and how far a pixel is from the rim,
    in digits of their own; or the noise alone."""

    network: nn.Module
    generative: bool = False
    parts: tuple = ()

    def draw(self, condition, noise):
        if self.generative:
            return (noise("own", 1) / 10).clamp(-1, 1)
        side = torch.arange(condition.shape[-1])
        rim = torch.minimum(side, side.flip(0))
        depth = torch.minimum(rim[:, None], rim[None, :]).to(torch.float32)
        return (condition[:, :1] / 1000 + depth / 100).clamp(-1, 1)


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Notes each window that it is asked for, and does what it was told to."""

    network: nn.Module
    seen: list
    then: list = dataclasses.field(default_factory=list)
    generative: bool = False
    parts: tuple = ()

    def draw(self, condition, _):
        self.seen.append(condition.shape)
        for act in self.then:
            act()
        return condition[:, :1].clamp(-1, 1)


def model(learner, tile_px=32, **more):
    return Neural(ready(learner), INPUTS, NORM, tile_px, 30.0, 200.0, **more)


def echo(**more):
    return model(Echo(nn.Conv2d(1, 1, 1), **more))


def land(one, grid=GRID, seed=0):
    rng = np.random.default_rng(seed)
    shape = grid.padded(one.halo).shape
    return {name: rng.uniform(0, 100, shape).astype(np.float32) for name in one.layers}


def cut(seen, one, roi):
    rows, cols = (slice(s.start, s.stop + 2 * one.halo) for s in roi)
    return {k: v[rows, cols] for k, v in seen.items()}


PARTS = [np.s_[0:7, 0:90], np.s_[5:6, 33:35], np.s_[40:70, 3:61], np.s_[69:70, 89:90]]


@pytest.mark.parametrize("make", [regression, diffusion])
@pytest.mark.parametrize("roi", PARTS)
def test_a_tile_is_its_part_of_the_whole_to_the_byte(make, roi):
    one: Model = model(make(), samples=2)
    seen = land(one)
    whole = one.predict(seen, GRID)
    assert np.isfinite(whole).all()
    assert whole.std() > 0
    part = one.predict(cut(seen, one, roi), GRID[roi])
    assert part.tobytes() == np.ascontiguousarray(whole[roi]).tobytes()


@pytest.mark.parametrize("make", [regression, diffusion])
def test_another_land_has_another_map(make):
    one = model(make())
    a, b = (one.predict(land(one, seed=seed), GRID) for seed in (0, 1))
    assert (np.abs(a - b) > 1).mean() > 0.8
    assert ((a == 0) | (a == 200)).mean() < 0.1  # else a difference could hide at the ends


@pytest.mark.parametrize("make", [regression, diffusion])
def test_threads_do_not_change_a_byte(make):
    seen = land(model(make()))
    maps = [model(make(), threads=n).predict(seen, GRID) for n in (1, 2, 3)]
    assert maps[0].tobytes() == maps[1].tobytes() == maps[2].tobytes()


@pytest.fixture
def _three_threads():
    """Torch with another number of threads than any test or machine here has by itself."""
    held = torch.get_num_threads()
    neural._made.cache_clear()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(held)


@pytest.mark.usefixtures("_three_threads")
def test_torchs_threads_are_one_to_a_window_and_left_as_they_were_elsewhere():
    inside, outside = [], []
    list(neural._pool(2).map(lambda _: inside.append(torch.get_num_threads()), range(8)))
    assert set(inside) == {1}
    assert torch.get_num_threads() == 3
    thread = threading.Thread(target=lambda: outside.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert outside == [3]


def test_tiles_may_be_computed_side_by_side():
    one = model(diffusion(), threads=2)
    seen = land(one)
    whole = one.predict(seen, GRID)
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda roi: one.predict(cut(seen, one, roi), GRID[roi]), PARTS * 2)
    for roi, part in zip(PARTS * 2, parts, strict=True):
        np.testing.assert_array_equal(part, whole[roi])


@pytest.mark.parametrize("make", [regression, diffusion])
def test_a_batch_of_fixed_size_changes_a_map_by_rounding_only(make, monkeypatch):
    """What a GPU does: windows in batches, the last one filled up."""
    one = model(make(), samples=2)
    seen = land(one)
    want = one.predict(seen, GRID)
    sizes = []
    densities = Neural._densities
    monkeypatch.setattr(neural, "_fixed", lambda *_: 3)
    monkeypatch.setattr(
        Neural, "_densities", lambda *a: (sizes.append(len(a[1])), densities(*a))[1]
    )
    np.testing.assert_allclose(one.predict(seen, GRID), want, rtol=0, atol=2e-3)  # found 2e-4
    count = len(around(one))
    assert count % 3
    assert sizes == [3] * -(-count // 3)


@pytest.mark.parametrize("tile_px", [16, 32, 96])
def test_the_halo_is_that_of_the_windows_and_of_what_they_read(tile_px):
    one = dataclasses.replace(echo(), tile_px=tile_px)
    assert one.halo == halo(tile_px) + INPUTS.halo


def around(one, grid=GRID):
    return list(windows(grid.padded(one.reach), one.tile_px))


def test_a_window_sees_its_own_land_and_fades_into_its_neighbours():
    one = echo()
    seen = land(one)
    found = one.predict(seen, GRID)
    blue = seen["blue"][one.halo : -one.halo, one.halo : -one.halo]
    depth = (found / 100 - 1 - (blue - 50) / 30_000) * 100
    rim = np.minimum(np.arange(32), np.arange(32)[::-1])
    want, near = np.zeros(GRID.shape), GRID.padded(64)
    for window in around(one):
        share = np.zeros(near.shape)
        share[near.roi_of(window.cell.padded(2))] = weights(window.cell, 2) / FULL
        own = np.zeros(near.shape)
        own[near.roi_of(window.grid)] = np.minimum(rim[:, None], rim)
        want += (share * own)[near.roi_of(GRID)]
    np.testing.assert_allclose(depth, want, atol=1e-2)
    assert want.min() > 1
    assert want.max() == 15


def test_noise_belongs_to_place_and_draw():
    one: Generative = echo(generative=True)
    drawn = one.draws(land(one), GRID, 3)
    for number in range(3):
        want = (field(GRID, 0, number, "own", channels=1)[0].numpy() / 10).clip(-1, 1)
        np.testing.assert_allclose(drawn[number], (want + 1) * 100, rtol=0, atol=one.quantum)
    other = dataclasses.replace(one, seed=1).draws(land(one), GRID, 1)
    assert abs(np.corrcoef(other[0].ravel(), drawn[0].ravel())[0, 1]) < 0.1


def test_a_map_is_the_mean_of_its_draws_and_a_draw_does_not_know_how_many_there_are():
    one = model(diffusion(), samples=3)
    seen = land(one)
    drawn = one.draws(seen, GRID, 4)
    np.testing.assert_array_equal(one.draws(seen, GRID, 2), drawn[:2])
    assert (drawn[0] != drawn[1]).mean() > 0.9
    want = (drawn[0].astype(float) + drawn[1] + drawn[2]) / 3
    np.testing.assert_array_equal(one.predict(seen, GRID), want.astype(np.float32))


def test_a_family_whose_draws_are_alike_is_asked_once(monkeypatch):
    one = model(regression(), samples=8)
    asked = []
    draw = type(one.learner).draw
    monkeypatch.setattr(type(one.learner), "draw", lambda *a: (asked.append(1), draw(*a))[1])
    seen = land(one)
    found = one.draws(seen, GRID, 3)
    assert len(asked) == len(around(one))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[0], one.predict(seen, GRID))


def test_a_pixel_is_unknown_where_a_layer_is_and_nowhere_else():
    one = model(regression())
    seen = land(one)
    seen["nir"][one.halo + 5, one.halo + 7] = np.nan
    seen["elevation"][: one.halo + 2] = np.nan
    want = np.zeros(GRID.shape, bool)
    want[5, 7] = want[:2] = True
    np.testing.assert_array_equal(np.isnan(one.predict(seen, GRID)), want)
    np.testing.assert_array_equal(np.isnan(one.draws(seen, GRID, 2)), [want, want])


@pytest.mark.parametrize("make", [regression, diffusion])
@pytest.mark.parametrize("tile_px", [16, 32, 96])
def test_shares_of_tiles_in_any_order_add_up_to_the_map(make, tile_px):
    one = dataclasses.replace(model(make()), tile_px=tile_px)
    grid = dataclasses.replace(GRID, row=1000, col=990)  # a corner of four tiles is in it
    h = one.halo  # nothing is known beyond a region
    seen = {k: np.pad(v[h:-h, h:-h], h, constant_values=np.nan) for k, v in land(one, grid).items()}
    seen["nir"][one.halo + 10 : one.halo + 30, one.halo + 30 : one.halo + 44] = np.nan
    want = one.draws(seen, grid, 2)[: 2 if one.generative else 1]
    area = grid.padded(one.halo)
    for order in (1, -1):
        total = nothing(area, len(want))
        for tile in list(tiles(grid, PERIOD_PX))[::order]:
            for strip in one.shares(cut(seen, one, tile.roi), tile.grid, len(want)):
                total.add(strip)
        found = total.draws(one.quantum)[:, *area.roi_of(grid)]
        assert found.tobytes() == want.tobytes()
    assert np.isnan(want).any(0).sum() == 280
    inside = total.weights[area.roi_of(grid)]
    assert set(np.unique(inside)) >= {0, FULL}


@pytest.mark.parametrize("make", [regression, diffusion])
def test_what_is_wanted_does_not_change_what_a_pixel_is(make):
    one = model(make())
    seen = land(one)
    whole = one.predict(seen, GRID)
    wanted = np.random.default_rng(1).uniform(size=GRID.shape) < 0.002
    assert 5 < wanted.sum() < 30
    found = one.predict(seen, GRID, wanted)
    np.testing.assert_array_equal(found, np.where(wanted, whole, np.nan))


def test_windows_without_a_known_pixel_are_skipped(monkeypatch):
    one = model(regression())
    seen = {name: np.full_like(v, np.nan) for name, v in land(one).items()}
    monkeypatch.setattr(neural, "encode", None)
    assert np.isnan(one.predict(seen, GRID)).all()
    assert one.draws(seen, GRID, 2).shape == (2, *GRID.shape)


def test_density_is_never_below_nothing_nor_above_the_scale():
    one = model(regression())
    seen = {k: v * 1000 for k, v in land(one).items()}
    found = one.predict(seen, GRID)
    assert found.min() >= 0
    assert found.max() <= 200


def test_other_pixels_missing_layers_and_other_shapes_are_refused_by_name():
    one = model(regression())
    seen = land(one)
    with pytest.raises(ModelError, match="30 m and the tile has pixels of 16 m"):
        one.predict(seen, dataclasses.replace(GRID, pixel_m=16.0))
    with pytest.raises(ModelError, match="'red'"):
        one.predict({k: v for k, v in seen.items() if k != "red"}, GRID)
    with pytest.raises(ModelError, match=f"halo of {one.halo} pixels"):
        one.predict(seen, GRID[1:, :])
    with pytest.raises(ModelError, match="shape"):
        one.draws({**seen, "red": seen["red"][1:]}, GRID, 2)


def test_ready_folds_a_copy_and_leaves_the_learner_as_it_was():
    own = regression()
    own.network.train()
    found = ready(own)
    assert own.network.training
    assert not found.network.training
    assert any(isinstance(m, nn.BatchNorm2d) for m in own.network.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in found.network.modules())
    x = torch.rand(1, BANDS, 16, 16)
    with torch.inference_mode():
        want = own.network.eval()(x)
        torch.testing.assert_close(found.network(x), want, atol=1e-5, rtol=1e-4)


def test_a_batch_shares_its_arrays_memory():
    parts = [np.zeros((2, k, 4, 4), np.float32) for k in (BANDS, 1, 1)]
    batch = as_batch(*parts)
    parts[2][:] = 1
    assert batch.weight.sum() == 32
    assert batch.condition.shape == (2, BANDS, 4, 4)


def test_a_tile_that_is_told_to_stop_begins_no_further_window():
    one = model(Stopping(nn.Conv2d(1, 1, 1), seen := []), threads=1)
    one.learner.then.append(one.stop.set)
    with pytest.raises(CancelledError):
        one.predict(land(one), GRID)
    assert len(seen) == 1
    assert len(around(one)) > 4


def test_a_network_that_answers_with_no_number_is_said_to_have_diverged():
    one = model(regression())
    nn.init.constant_(one.learner.network.last.bias, float("nan"))
    with pytest.raises(ModelError, match="it has diverged"):
        one.predict(land(one), GRID)
