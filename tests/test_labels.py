"""Labels against an oracle that cuts every polygon with every pixel."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonmap.coverage import polygon_coverage
from carbonmap.grid import Grid
from carbonmap.labels import HeightSource, StandSums, spread, stand_sums
from carbonmap.tiles import tiles

EQUAL_AREA = "+proj=aea +lat_1=25 +lat_2=47 +lon_0=105 +datum=WGS84 +units=m"
GRID = Grid.covering((0, 0, 12 * 16, 9 * 16), EQUAL_AREA, 16)


def polygons_of(*shapes):
    return np.array(shapes, dtype=object)


def label(polygons, height, stock, grid=GRID, forest=None, tile_px=1000):
    """Labels of a grid in two passes over its tiles, as the stage makes them."""
    area = grid.pixel_area_ha()
    sums = StandSums.zeros(len(polygons))
    cut = list(tiles(grid, tile_px))
    covers = {t.name: polygon_coverage(polygons, t.grid) for t in cut}

    def mask(tile):
        return None if forest is None else forest[tile.roi]

    for tile in cut:
        sums += stand_sums(covers[tile.name], height[tile.roi], area, len(polygons), mask(tile))
    made = {t.name: spread(covers[t.name], height[t.roi], area, sums, stock, mask(t)) for t in cut}
    return cut, made, sums


def whole(cut, made, grid, pick):
    out = np.full(grid.shape, -1.0)
    for tile in cut:
        out[tile.roi] = pick(made[tile.name])
    return out


def pixel_boxes(grid):
    x, y = np.meshgrid(grid.x, grid.y)
    half = grid.pixel_m / 2
    return shapely.box(x - half, y - half, x + half, y + half)


@st.composite
def random_polygons(draw):
    shapes = []
    for _ in range(draw(st.integers(1, 5))):
        x, y = draw(st.floats(-20, 200)), draw(st.floats(-20, 160))
        corners = draw(st.integers(3, 9))
        radii = draw(st.lists(st.floats(2, 80), min_size=corners, max_size=corners))
        turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        shapes.append(
            shapely.Polygon(
                [(x + r * np.cos(t), y + r * np.sin(t)) for r, t in zip(radii, turns, strict=True)]
            )
        )
    return polygons_of(*shapes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(random_polygons(), st.integers(0, 2**32 - 1), st.sampled_from([1000, 5, 4]))
def test_density_equals_polygon_pixel_intersection(polygons, seed, tile_px):
    """The oracle: area of every polygon ∩ pixel by GEOS, weights and sums written out."""
    rng = np.random.default_rng(seed)
    height = rng.choice([np.nan, 0.0, 3.0, 17.5, 30.25], GRID.shape, p=[0.2, 0.2, 0.2, 0.2, 0.2])
    stock = {"trees": rng.uniform(0, 500, len(polygons)), "soil": rng.uniform(0, 90, len(polygons))}
    cut, made, _ = label(polygons, height.astype(np.float32), stock, tile_px=tile_px)
    boxes = pixel_boxes(GRID)
    expected = {pool: np.zeros(GRID.shape) for pool in stock}
    share = np.zeros(GRID.shape)
    for k, polygon in enumerate(polygons):
        cut_area = shapely.area(shapely.intersection(boxes, polygon))
        if cut_area.sum() < 1e-3:
            continue
        share += cut_area / 256
        inside = cut_area > 0
        known = inside & np.isfinite(height)
        canopy = (cut_area * np.nan_to_num(height))[known].sum()
        if canopy > 0:
            mean = canopy / cut_area[known].sum()
            weight = cut_area * np.where(np.isfinite(height), height, mean)
        else:
            weight = cut_area
        for pool in stock:
            expected[pool] += stock[pool][k] * weight / weight.sum() / 0.0256
    got_share = whole(cut, made, GRID, lambda t: t.coverage)
    assert got_share == pytest.approx(share, abs=2e-6)
    inside = share > 1e-4
    for pool, want in expected.items():
        got = whole(cut, made, GRID, lambda t, pool=pool: t.density[pool])
        assert np.isnan(got[share == 0]).all()
        np.testing.assert_allclose(got[inside], want[inside], rtol=2e-4, atol=0.05)
        assert np.nansum(got) * 0.0256 == pytest.approx(want.sum() * 0.0256, rel=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(random_polygons(), st.integers(0, 2**32 - 1))
def test_a_polygons_pixels_add_up_to_its_stock(polygons, seed):
    rng = np.random.default_rng(seed)
    height = rng.choice([np.nan, 0.0, 4.0, 21.0], GRID.shape).astype(np.float32)
    for k in range(len(polygons)):
        one = polygons[k : k + 1]
        stock = {"trees": np.array([rng.uniform(1, 1e4)])}
        cut, made, sums = label(one, height, stock, tile_px=5)
        if sums.covered[0] > 1e-6:
            total = np.nansum(whole(cut, made, GRID, lambda t: t.density["trees"])) * 0.0256
            assert total == pytest.approx(stock["trees"][0], rel=1e-9)


def test_tiles_do_not_change_a_label():
    rng = np.random.default_rng(1)
    polygons = polygons_of(shapely.box(-5, 3, 90, 130), shapely.box(90, 3, 300, 130))
    height = rng.uniform(0, 30, GRID.shape).astype(np.float32)
    stock = {"trees": np.array([100.0, 300.0])}
    one = label(polygons, height, stock)
    many = label(polygons, height, stock, tile_px=4)
    for pick in (lambda t: t.density["trees"], lambda t: t.coverage, lambda t: t.stand):
        np.testing.assert_allclose(
            whole(*one[:2], GRID, pick), whole(*many[:2], GRID, pick), rtol=1e-12, equal_nan=True
        )


def test_a_shared_pixel_gets_each_stands_part():
    left, right = shapely.box(0, 0, 24, 144), shapely.box(24, 0, 192, 144)
    height = np.full(GRID.shape, 10, np.float32)
    stock = {"trees": np.array([2.4 * 14.4, 100 * 16.8 * 14.4]) / 100}
    _, made, _ = label(polygons_of(left, right), height, stock)
    density = next(iter(made.values())).density["trees"]
    first, second = stock["trees"] / (np.array([24 * 144, 168 * 144]) / 1e4)
    np.testing.assert_allclose(density[:, 0], first, rtol=1e-6)
    np.testing.assert_allclose(density[:, 1], (first + second) / 2, rtol=1e-6)
    np.testing.assert_allclose(density[:, 2], second, rtol=1e-6)


def test_a_stand_smaller_than_a_pixel_keeps_its_stock():
    polygons = polygons_of(shapely.box(20, 20, 28, 28))
    cut, made, _ = label(polygons, np.full(GRID.shape, 5, np.float32), {"trees": np.array([7.0])})
    density = whole(cut, made, GRID, lambda t: t.density["trees"])
    assert np.nansum(density) * 0.0256 == pytest.approx(7.0, rel=1e-12)
    assert np.isfinite(density).sum() == 1


def test_unknown_stock_is_nan_and_measured_zero_is_zero():
    polygons = polygons_of(shapely.box(0, 0, 64, 144), shapely.box(64, 0, 128, 144))
    stock = {"trees": np.array([np.nan, 0.0])}
    cut, made, _ = label(polygons, np.full(GRID.shape, 9, np.float32), stock)
    density = whole(cut, made, GRID, lambda t: t.density["trees"])
    assert np.isnan(density[:, :4]).all()
    assert (density[:, 4:8] == 0).all()
    assert np.isnan(density[:, 8:]).all()
    assert (whole(cut, made, GRID, lambda t: t.coverage)[:, :4] == 0).all()


def test_pixels_without_height_take_the_stands_mean_and_are_flagged():
    height = np.full(GRID.shape, 12, np.float32)
    height[:, 1] = 24
    height[:, 2:4] = np.nan
    polygons = polygons_of(shapely.box(0, 0, 64, 144))
    cut, made, sums = label(polygons, height, {"trees": np.array([72.0])})
    assert sums.mean_height[0] == pytest.approx(18)
    density = whole(cut, made, GRID, lambda t: t.density["trees"])
    np.testing.assert_allclose(density[:, 2], density[:, :2].mean(axis=1))
    source = whole(cut, made, GRID, lambda t: t.source)
    assert (source[:, 2:4] == HeightSource.STAND_MEAN).all()
    assert (source[:, :2] == HeightSource.MEASURED).all()


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_stand_without_any_canopy_is_spread_evenly_and_flagged(value):
    polygons = polygons_of(shapely.box(8, 8, 88, 88))
    cut, made, sums = label(
        polygons, np.full(GRID.shape, value, np.float32), {"trees": np.array([64.0])}
    )
    assert sums.even.all()
    density = whole(cut, made, GRID, lambda t: t.density["trees"])
    share = whole(cut, made, GRID, lambda t: t.coverage)
    np.testing.assert_allclose(density[share > 0], share[share > 0] * 100, rtol=1e-6)
    assert (whole(cut, made, GRID, lambda t: t.source)[share > 0] == HeightSource.EVEN).all()


def test_a_mask_moves_stock_into_the_forest_and_loses_none():
    rng = np.random.default_rng(3)
    height = rng.uniform(1, 30, GRID.shape).astype(np.float32)
    height[4, 4] = np.nan
    forest = rng.random(GRID.shape) < 0.4
    polygons = polygons_of(shapely.box(3, 3, 100, 140), shapely.box(160, 8, 176, 24))
    forest[-3:, 9:] = False
    stock = {"trees": np.array([500.0, 20.0])}
    cut, made, sums = label(polygons, height, stock, forest=forest, tile_px=5)
    density = whole(cut, made, GRID, lambda t: t.density["trees"])
    assert list(sums.without_forest) == [False, True]
    assert np.nansum(density) * 0.0256 == pytest.approx(520, rel=1e-9)
    outside = ~forest & (np.arange(12) < 7)
    assert np.nanmax(density[outside]) == 0


def test_a_pixels_stand_is_the_one_that_covers_most_of_it():
    polygons = polygons_of(
        shapely.box(0, 0, 20, 144), shapely.box(20, 0, 42, 144), shapely.box(42, 0, 96, 144)
    )
    _, made, _ = label(polygons, np.ones(GRID.shape, np.float32), {"trees": np.ones(3)})
    assert list(next(iter(made.values())).stand[0, :7]) == [1, 2, 2, 3, 3, 3, 0]


def test_on_a_utm_grid_mass_is_kept_with_each_pixels_own_area():
    grid = Grid.covering((301905, 4111245, 302505, 4111845), "EPSG:32612", 30)
    polygons = polygons_of(shapely.box(302000, 4111300, 302333, 4111777))
    height = np.random.default_rng(5).uniform(0, 20, grid.shape).astype(np.float32)
    cut, made, _ = label(polygons, height, {"trees": np.array([123.0])}, grid=grid)
    density = whole(cut, made, grid, lambda t: t.density["trees"])
    assert np.nansum(density * grid.pixel_area_ha()) == pytest.approx(123, rel=1e-12)
    assert np.nansum(density) * 0.09 != pytest.approx(123, rel=1e-5)
