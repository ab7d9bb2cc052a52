"""The simulated county: its carbon is known, and a tile is a piece of the whole."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from carbonmap import crs as crs_
from carbonmap.errors import ConfigError
from carbonmap.landscape import (
    BANDS,
    County,
    Season,
    canopy_height,
    carbon_density,
    clouds,
    county_grid,
    elevation,
    image,
    shadows,
    stands,
)
from carbonmap.landscape.county import CHINA_ALBERS
from carbonmap.landscape.cover import cover
from carbonmap.landscape.inventory import TOWNSHIPS
from carbonmap.landscape.mesh import mesh
from carbonmap.landscape.outlines import PIECES, Edges, outlines
from carbonmap.landscape.relief import elevation_at
from carbonmap.landscape.scene import _mixture
from carbonmap.terrain import illumination, slope_aspect

COUNTY = County(stand_ha=6.0)
GRID = county_grid(96, 112)
MONTH = "2020-08"
LAYERS = {
    "elevation": elevation,
    "canopy_height": canopy_height,
    "carbon_density": carbon_density,
    "clouds": lambda grid, county: clouds(grid, county, MONTH),
    "shadows": lambda grid, county: shadows(grid, county, MONTH),
    "image": lambda grid, county: np.stack(list(image(grid, county, MONTH).values()), axis=-1),
}


def inside(inventory, grid):
    """Stands that lie on the grid whole."""
    return shapely.within(inventory.geometry, shapely.box(*grid.bounds))


def cloudless(county: County = COUNTY) -> County:
    clear = tuple(dataclasses.replace(s, cloud_cover=0.0) for s in county.seasons)
    return dataclasses.replace(county, seasons=clear)


# --- one land, however it is cut ---------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_tile_equals_the_whole_to_the_last_bit(name, data):
    top, left = data.draw(st.integers(0, 90)), data.draw(st.integers(0, 100))
    height, width = data.draw(st.integers(1, 96 - top)), data.draw(st.integers(1, 112 - left))
    roi = slice(top, top + height), slice(left, left + width)
    whole = LAYERS[name](GRID, COUNTY)
    assert np.array_equal(LAYERS[name](GRID[roi], COUNTY), whole[roi])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 90), st.integers(0, 100))
def test_a_tiles_stands_are_the_wholes_stands(top, left):
    part = GRID[top : top + 20, left : left + 20]
    whole, here = stands(GRID, COUNTY), stands(part, COUNTY)
    touching = shapely.intersects(whole.geometry, shapely.box(*part.bounds))
    for field in dataclasses.fields(whole):
        want, got = getattr(whole, field.name)[touching], getattr(here, field.name)
        if field.name == "geometry":
            want, got = shapely.to_wkb(want), shapely.to_wkb(got)
        assert want.tolist() == got.tolist(), field.name


def test_coarser_pixels_see_the_same_stands():
    coarse = county_grid(32, 32, pixel_m=32.0)
    fine = dataclasses.replace(
        coarse, pixel_m=16.0, row=2 * coarse.row, col=2 * coarse.col, height=64, width=64
    )
    assert stands(fine, COUNTY).id.tolist() == stands(coarse, COUNTY).id.tolist()


def test_another_seed_is_another_county():
    other = dataclasses.replace(COUNTY, seed=COUNTY.seed + 1)
    assert all(
        not np.array_equal(layer(GRID, COUNTY), layer(GRID, other)) for layer in LAYERS.values()
    )


# --- stands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("merged_share", [0.0, 0.4, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_stands_tile_the_land_without_gap_or_overlap(seed, merged_share):
    county = County(seed=seed, stand_ha=4.0, merged_share=merged_share)
    grid = county_grid(160, 160)
    polygons = stands(grid, county).geometry
    assert shapely.is_valid(polygons).all()
    assert (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON).all()
    box = shapely.box(*grid.bounds)
    clipped = shapely.intersection(polygons, box)
    assert shapely.area(clipped).sum() == pytest.approx(box.area, rel=1e-11)
    assert shapely.coverage_union_all(polygons).contains(box)


def test_neighbouring_stands_share_every_vertex_of_their_border():
    assert shapely.coverage_is_valid(stands(GRID, COUNTY).geometry)


def test_a_stand_inside_another_is_a_hole_in_it():
    """Squares of 2 and 10 m around one point; stand 0 lies between them, 2 outside."""
    corner = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    vertices = np.concatenate([corner, 5 * corner])
    start, end = np.arange(8), np.array([1, 2, 3, 0, 5, 6, 7, 4])
    t = np.linspace(0, 1, PIECES + 1)[:, None]
    points = (1 - t) * vertices[start][:, None] + t * vertices[end][:, None]
    left, right = np.repeat([1, 0], 4), np.repeat([0, 2], 4)
    ring, core = outlines(Edges(left, right, start, end, points), np.array([0, 1]))
    assert ring.equals(shapely.box(-5, -5, 5, 5) - shapely.box(-1, -1, 1, 1))
    assert core.equals(shapely.box(-1, -1, 1, 1))


def test_stands_have_the_mean_area_that_was_asked_for():
    grid = county_grid(768, 768)
    inventory = stands(grid, COUNTY)
    left, bottom, right, top = grid.bounds
    cells = mesh(grid, COUNTY)
    seated = (cells.x > left) & (cells.x < right) & (cells.y > bottom) & (cells.y < top)
    mean = (right - left) * (top - bottom) / 1e4 / seated.sum()
    assert mean == pytest.approx(COUNTY.stand_ha, rel=0.03)
    assert inventory.area_ha.std() > 0.3 * mean  # and are far from equal


def test_ids_are_unique_and_follow_from_the_lattice_place():
    inventory, cells = stands(GRID, COUNTY), mesh(GRID, COUNTY)
    assert len(set(inventory.id)) == len(inventory)
    assert inventory.id[0] == f"r{cells.row[0]}c{cells.col[0]}"


def test_areas_are_ellipsoidal_where_the_crs_is_not_equal_area():
    inventory = stands(county_grid(64, 64, crs="EPSG:32648"), COUNTY)  # 1.5° off its meridian
    outlines = shapely.transform(
        inventory.geometry,
        lambda x, y: crs_.transform_points("EPSG:32648", CHINA_ALBERS, x, y),
        interleaved=False,
    )
    np.testing.assert_allclose(inventory.area_ha, shapely.area(outlines) / 1e4, rtol=1e-6)
    flat = shapely.area(inventory.geometry) / 1e4
    assert abs(inventory.area_ha / flat - 1).min() > 1e-5


def test_land_without_forest_has_no_wood_and_forest_has_some():
    inventory = stands(county_grid(512, 512), COUNTY)
    bare = inventory.species == "无"
    assert 0.2 < bare.mean() < 0.7
    assert set(inventory.species) == {"云南松", "华山松", "栎类", "桉树", "无"}
    assert set(inventory.land_class[bare]) == {"0300"}
    assert set(inventory.land_class[~bare]) == {"0111"}
    for attribute in ("growing_stock", "age_group", "canopy_closure", "carbon_stock"):
        values = getattr(inventory, attribute)
        assert not values[bare].any()
        assert (values[~bare] > 0).all()
    assert inventory.growing_stock.max() < 700
    assert inventory.canopy_height[bare].max() < 1.3 <= inventory.canopy_height[~bare].min()


def test_species_follow_elevation():
    grid = county_grid(1024, 1024)
    inventory, cells = stands(grid, COUNTY), mesh(grid, COUNTY)
    height = elevation_at(cells.x, cells.y, COUNTY)
    low, middle, high = (
        np.median(height[inventory.species == name]) for name in ("桉树", "云南松", "华山松")
    )
    assert low < middle < high


def test_townships_are_big_blocks_and_neighbours_have_other_names():
    grid = county_grid(1024, 1024)
    inventory = stands(grid, COUNTY)
    names = set(inventory.township)
    assert names <= set(TOWNSHIPS)
    assert 6 < len(names) < 24  # 16.4 km across, of 5 km each
    for name in names:
        block = shapely.union_all(inventory.geometry[inventory.township == name])
        biggest = shapely.area(shapely.get_parts(block)).max()
        assert biggest > 0.9 * block.area


def test_columns_carry_the_field_names_of_real_inventories():
    columns = stands(GRID, COUNTY).columns()
    assert set(columns) == {
        "XIAO_BAN",
        "XIANG",
        "YOU_SHI_SZ",
        "DI_LEI",
        "LING_ZU",
        "YU_BI_DU",
        "MIAN_JI",
        "HUO_LMGQXJ",
    }
    assert {len(column) for column in columns.values()} == {len(stands(GRID, COUNTY))}


# --- shares, canopy and carbon -----------------------------------------------------------------


@pytest.mark.parametrize("stand_ha", [0.02, 0.3, 6.0])
def test_shares_of_pixels_are_the_areas_of_their_intersections(stand_ha):
    """From stands smaller than a pixel (0.0256 ha) to big ones."""
    county, grid = County(stand_ha=stand_ha), county_grid(14, 17)
    cells = mesh(grid, county)
    shares = cover(cells, grid)
    got = np.zeros((grid.size, cells.row.size))
    whole = np.flatnonzero(shares.owner.ravel() >= 0)
    got[whole, shares.owner.ravel()[whole]] = 1
    got[shares.pixel, shares.stand] += shares.share
    x, y = np.meshgrid(grid.x - 8, grid.y - 8)
    pixels = shapely.box(x.ravel(), y.ravel(), x.ravel() + 16, y.ravel() + 16)
    want = shapely.area(shapely.intersection(pixels[:, None], cells.geometry)) / 256
    np.testing.assert_allclose(got, want, atol=2e-9)


def test_a_stands_pixels_add_up_to_its_stock():
    inventory = stands(GRID, COUNTY)
    whole = inside(inventory, GRID)
    assert whole.sum() > 20
    shares = cover(mesh(GRID, COUNTY), GRID)
    height = canopy_height(GRID, COUNTY).astype(np.float64)
    for n in np.flatnonzero(whole):
        one = np.arange(len(inventory)) == n
        part = shares.average(one.astype(float)) * height
        carbon = inventory.carbon_stock[n] * part / part.sum()
        assert carbon.sum() == pytest.approx(
            2.439 * 1.90 * 0.5 * 0.5 * inventory.growing_stock[n] * inventory.area_ha[n]
        )
    # all of them at once, through the map: stands inside are spread as above, others by their rest
    density = carbon_density(GRID, COUNTY)
    of_insiders = np.zeros(GRID.shape)
    for n in np.flatnonzero(whole):
        part = shares.average((np.arange(len(inventory)) == n).astype(float)) * height
        of_insiders += inventory.carbon_stock[n] * part / part.sum() / 0.0256
    alone = shares.average(whole.astype(float)) > 1 - 1e-8  # pixels that only insiders share
    assert alone.sum() > 1000
    np.testing.assert_allclose(density[alone], of_insiders[alone], rtol=1e-9)


def test_the_carbon_of_a_county_is_that_of_its_stands():
    """Stands cut by the border count by the weight of their inner part, from a wider grid."""
    wide = GRID.padded(60)
    roi = wide.roi_of(GRID)
    inventory, shares = stands(GRID, COUNTY), cover(mesh(GRID, COUNTY), wide)
    height = canopy_height(wide, COUNTY).astype(np.float64)
    total = 0.0
    for n in range(len(inventory)):
        part = shares.average((np.arange(len(inventory)) == n).astype(float)) * height
        total += inventory.carbon_stock[n] * part[roi].sum() / part.sum()
    assert carbon_density(GRID, COUNTY).sum() * 0.0256 == pytest.approx(total, rel=1e-9)


def test_carbon_follows_canopy_height_inside_a_stand():
    owner = cover(mesh(GRID, COUNTY), GRID).owner
    ratio = carbon_density(GRID, COUNTY) / canopy_height(GRID, COUNTY)
    for n in np.unique(owner[owner >= 0]):
        same = ratio[owner == n]
        np.testing.assert_allclose(same, same[0], rtol=1e-6)


def test_there_is_canopy_everywhere_and_little_off_the_forest():
    grid = county_grid(256, 256)
    height, inventory = canopy_height(grid, COUNTY), stands(grid, COUNTY)
    owner = cover(mesh(grid, COUNTY), grid).owner
    forest = np.append(inventory.growing_stock > 0, False)[owner] & (owner >= 0)
    bare = ~forest & (owner >= 0)
    assert (height > 0).all()
    assert height[bare].max() < 3 < height[forest].mean()
    per_stand = [height[owner == n].std() for n in np.unique(owner[forest])]
    assert np.median(per_stand) > 0.5


def test_taller_stands_hold_more_wood():
    inventory = stands(county_grid(512, 512), COUNTY)
    pine = inventory.species == "云南松"
    height, stock = inventory.canopy_height[pine], inventory.growing_stock[pine]
    assert 0.8 < np.corrcoef(height, np.sqrt(stock))[0, 1] < 0.99


# --- relief ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_land_is_mountainous_and_stays_in_its_range(seed):
    county = County(seed=seed)
    coarse = elevation(county_grid(256, 256, pixel_m=320.0), county)  # 82 km, as wide as Huize
    assert 695 < coarse.min() < 1200
    assert 3300 < coarse.max() < 4017
    places = [county_grid(256, 256, centre=(103.1 + 0.2 * k, 26.4)) for k in range(4)]
    slopes = np.degrees([slope_aspect(elevation(grid, county), 16.0)[0] for grid in places])
    assert 15 < slopes.mean() < 30
    assert np.percentile(slopes, 99.9) < 65


def test_the_raster_has_the_lands_height_at_its_pixels():
    x, y = np.meshgrid(GRID.x, GRID.y)
    np.testing.assert_allclose(elevation(GRID, COUNTY), elevation_at(x, y, COUNTY), atol=0.02)


# --- images ------------------------------------------------------------------------------------


def test_an_image_has_four_bands_of_reflectance_in_every_season():
    for season in COUNTY.seasons:
        bands = image(GRID, COUNTY, season.month)
        assert tuple(bands) == BANDS == ("blue", "green", "red", "nir")
        for band in bands.values():
            assert band.dtype == np.float32
            assert band.shape == GRID.shape
            assert (band >= 0).all()
            assert (band <= 1).all()
            assert 0.005 < band.std() < 0.4


def test_part_of_the_volume_is_in_no_image():
    plain, varied = (dataclasses.replace(COUNTY, stand_ha=2.0, hidden_sd=sd) for sd in (0.0, 0.5))
    for season in COUNTY.seasons:
        seen = [image(GRID, county, season.month) for county in (plain, varied)]
        assert all(np.array_equal(seen[0][band], seen[1][band]) for band in BANDS)
    volumes = [stands(GRID, county).growing_stock for county in (plain, varied)]
    forest = volumes[0] > 0
    departure = np.log(volumes[1][forest] / volumes[0][forest]) + 0.5**2 / 2
    assert departure.std() > 0.3
    assert np.abs(departure).max() < 2 * 0.5 + 0.01  # cut at two deviations, then rounded
    assert not np.array_equal(*(canopy_height(GRID, county) for county in (plain, varied)))


def test_part_of_the_volume_shows():
    grid, county = county_grid(512, 512), cloudless()
    inventory = stands(grid, county)
    red = image(grid, county, MONTH)["red"]
    mean = cover(mesh(grid, county), grid).total(red, len(inventory)) / (
        cover(mesh(grid, county), grid).total(np.ones(grid.shape), len(inventory))
    )
    chosen = inside(inventory, grid) & (inventory.species == "云南松")
    assert np.corrcoef(inventory.visible_stock[chosen], mean[chosen])[0, 1] < -0.35


def test_what_shows_of_volume_saturates():
    """Of stands alike but for their volume, each 50 m³/ha more darken the image by less."""
    one = stands(GRID, COUNTY)
    forest = np.flatnonzero(one.growing_stock > 0)[:1]
    picked = {f.name: getattr(one, f.name)[forest.repeat(7)] for f in dataclasses.fields(one)}
    ladder = dataclasses.replace(one, **picked | {"visible_stock": np.arange(0.0, 350.0, 50.0)})
    for b in range(4):
        crowns, lost, _, _ = _mixture(ladder, COUNTY.seasons[0], b)
        steps = np.diff(crowns - lost)
        assert (steps < 0).all()
        np.testing.assert_allclose(steps[1:] / steps[:-1], np.exp(-50 / 90))


def test_oaks_green_up_in_summer_and_pines_hardly_change():
    grid, county = county_grid(384, 384), cloudless()
    inventory = stands(grid, county)
    shares = cover(mesh(grid, county), grid)
    ndvi = []
    for month in ("2020-02", "2020-08"):
        bands = image(grid, county, month)
        ndvi.append((bands["nir"] - bands["red"]) / (bands["nir"] + bands["red"]))
    full = inventory.canopy_closure > 0.6

    def gain(species):
        chosen = shares.average((full & (inventory.species == species)).astype(float)) > 0.99
        winter, summer = (np.median(index[chosen]) for index in ndvi)
        return summer - winter

    assert gain("栎类") > gain("云南松") + 0.02


def test_slopes_towards_the_sun_are_brighter():
    season = COUNTY.season("2020-11")
    grid = county_grid(256, 256)
    cosine = illumination(
        *slope_aspect(elevation(grid, COUNTY), 16.0),
        np.deg2rad(season.sun_zenith_deg),
        np.deg2rad(season.sun_azimuth_deg),
    )
    near = image(grid, cloudless(), "2020-11")["nir"]
    assert np.corrcoef(cosine.ravel(), near.ravel())[0, 1] > 0.6


def test_clouds_are_bright_their_shadows_dark_and_the_rest_untouched():
    grid = county_grid(384, 384)
    hidden, dark = clouds(grid, COUNTY, MONTH), shadows(grid, COUNTY, MONTH)
    dark &= ~hidden
    clear = ~hidden & ~dark
    assert min(hidden.sum(), dark.sum(), clear.sum()) > 1000
    cloudy, free = image(grid, COUNTY, MONTH), image(grid, cloudless(), MONTH)
    for band in BANDS:
        assert np.array_equal(cloudy[band][clear], free[band][clear])
        assert cloudy[band][hidden].min() > 0.45
        assert cloudy[band][dark].mean() < 0.7 * free[band][dark].mean()


def test_noise_has_the_strength_asked_for_and_differs_between_bands_and_months():
    quiet, loud = (dataclasses.replace(cloudless(), sensor_noise=sd) for sd in (0.0, 0.004))
    noise = [
        image(GRID, loud, month)[band] - image(GRID, quiet, month)[band]
        for month in ("2020-05", "2020-08")
        for band in ("green", "nir")
    ]
    assert np.std(noise) == pytest.approx(0.004, rel=0.03)
    correlation = np.corrcoef([one.ravel() for one in noise])
    assert np.abs(correlation - np.eye(4)).max() < 0.05


# --- clouds ------------------------------------------------------------------------------------


def test_cloud_cover_is_the_seasons_on_average():
    grid = county_grid(128, 128, pixel_m=2000.0)  # far wider than clouds
    for season in COUNTY.seasons:
        share = np.mean([clouds(grid, County(seed=s), season.month).mean() for s in range(4)])
        assert share == pytest.approx(season.cloud_cover, abs=0.006)


def test_a_cloudless_season_has_no_cloud():
    assert not clouds(county_grid(512, 512), cloudless(), MONTH).any()


@pytest.mark.parametrize(
    ("azimuth", "down", "right"), [(180.0, -10, 0), (0.0, 10, 0), (90.0, 0, -10), (270.0, 0, 10)]
)
def test_a_shadow_lies_away_from_the_sun(azimuth, down, right):
    noon = Season("2020-06-21", 45.0, azimuth, 0.8, 0.3)
    county = County(seasons=(noon,), cloud_height_m=160.0)  # ten pixels at 45°
    grid = county_grid(200, 200)
    cloud, shadow = (layer(grid, county, "2020-06") for layer in (clouds, shadows))
    assert cloud.any()
    moved = np.roll(cloud, (down, right), axis=(0, 1))
    core = slice(10, -10), slice(10, -10)
    assert np.array_equal(shadow[core], moved[core])


# --- settings ----------------------------------------------------------------------------------


def test_a_month_without_image_is_refused_with_the_nearest():
    for layer in (image, clouds, shadows):
        with pytest.raises(ConfigError, match=r"'2020-12'.*valid: 2020-02, 2020-05"):
            layer(GRID, COUNTY, "2020-12")


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"stand_ha": 0.0}, "stand_ha"),
        ({"merged_share": 0.6}, "merged_share"),
        ({"elevation_m": (4000.0, 700.0)}, "elevation_m.*lowest"),
        ({"seasons": ()}, "seasons"),
        ({"seasons": County().seasons[:1] * 2}, "seasons.*2020-02"),
        ({"stand_area": 3.0}, "stand_area"),
        ({"seed": "26"}, "seed"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(settings_, message):
    with pytest.raises(ValueError, match=message):
        County(**settings_)


def test_a_date_that_is_no_day_is_refused():
    with pytest.raises(ValueError, match="2020-02-31"):
        Season("2020-02-31", 40.0, 150.0, 0.2)


def test_years_later_the_same_stands_have_grown_but_for_those_that_were_felled():
    before, later = stands(GRID, COUNTY), stands(GRID, COUNTY.later(5, 0.2))
    more = stands(GRID, COUNTY.later(5, 0.5))
    assert list(before.id) == list(later.id)
    forest = before.growing_stock > 0
    ratio, other = (
        found.growing_stock[forest] / before.growing_stock[forest] for found in (later, more)
    )
    felled = ratio < 1
    np.testing.assert_allclose(ratio[~felled], 1.03**5, rtol=1e-3)
    assert ratio[felled].max() < 0.6
    assert stats.binomtest(int(felled.sum()), len(felled), 0.2).pvalue > 0.001
    assert (other[felled] < 1).all()
    assert (other < 1).sum() > felled.sum()
    assert COUNTY.later(5).seasons[0].date == "2025-02-15"


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(County)])
def test_every_setting_changes_the_county(name):
    other = {
        "seed": 1, "stand_ha": 7.0, "merged_share": 0.1, "elevation_m": (0.0, 500.0),
        "relief_m": 900.0, "township_m": 700.0, "hidden_sd": 0.1, "sensor_noise": 0.0,
        "cloud_m": 300.0, "cloud_height_m": 200.0, "seasons": (County().seasons[2],),
        "years": 5, "felled_share": 0.3,
    }[name]  # fmt: skip
    changed = dataclasses.replace(COUNTY, **{name: other})
    if name == "seasons":
        with pytest.raises(ConfigError):
            image(GRID, changed, "2020-02")
        return
    if name == "township_m":
        layers = [list(stands(GRID, c).township) for c in (COUNTY, changed)]
        assert layers[0] != layers[1]
        return
    assert any(
        not np.array_equal(layer(GRID, COUNTY), layer(GRID, changed)) for layer in LAYERS.values()
    )


def test_every_layer_takes_a_grid_and_a_county_first():
    for layer in (elevation, stands, canopy_height, carbon_density, image, clouds, shadows):
        assert list(inspect.signature(layer).parameters)[:2] == ["grid", "county"]
