"""Claims about reading forest inventories; every fault is made here, by hand or by GDAL."""

import struct
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import Point, Polygon, box

from carbonmap import crs as crs_
from carbonmap.config import crs_text
from carbonmap.coverage import polygon_coverage, share_inside
from carbonmap.errors import GridError, InputError, LabelError
from carbonmap.findings import Kind
from carbonmap.grid import Grid
from carbonmap.io.stands import Fields, read_boundary, read_inventory
from tests.inventories import FIELDS, GRID, UTM, X, Y, saved, stands, with_shapes

DATA = Path(__file__).parents[2] / "../shared/data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the shared data are not beside this checkout"
)
faults = pytest.mark.faults


def problem(inventory, kind):
    (found,) = [p for p in inventory.problems if p.kind == kind]
    return found


def kinds(inventory):
    return {str(p.kind) for p in inventory.problems}


# --- what a faultless inventory gives


@pytest.mark.parametrize("name", ["stands.shp", "stands.gpkg", "stands.parquet"])
def test_every_kind_of_file_gives_the_same_stands(tmp_path, name):
    inventory = read_inventory(saved(stands(), tmp_path, name), FIELDS, GRID)
    assert inventory.stands["id"].tolist() == ["s0", "s1", "s2"]
    assert inventory.stands["growing_stock"].tolist() == [100.0, 101.0, 102.0]
    assert inventory.stands.crs.to_epsg() == 32648
    assert inventory.problems == ()
    assert inventory.notes == ()
    assert shapely.equals(inventory.stands.geometry.to_numpy(), stands().geometry.to_numpy()).all()


def test_areas_are_the_ellipsoids_and_not_the_zones(tmp_path):
    inventory = read_inventory(saved(stands(), tmp_path), FIELDS, GRID)
    scale = crs_.areal_scale(UTM, np.array([X + 50.0]), np.array([Y + 50.0]))[0]
    assert abs(scale - 1) > 2e-4
    assert inventory.stands["area_ha"][0] == pytest.approx(1 / scale, rel=1e-8)


def test_a_long_edge_is_followed_when_it_is_brought_to_another_projection(tmp_path):
    grid = Grid.covering((X, Y, X + 60_000, Y + 60_000), UTM, 1000)
    west, south, east, north = grid.wgs84_bounds
    wide = box(west + 0.1, south + 0.1, east - 0.1, north - 0.1)
    frame = with_shapes(stands(1), {0: wide}, crs="EPSG:4326")
    inventory = read_inventory(saved(frame, tmp_path), FIELDS, grid)
    # a cell of the graticule on the ellipsoid, from the authalic latitude's closed form
    a, e2 = 6378137.0, 0.00669437999014
    e, s = np.sqrt(e2), np.sin(np.radians([south + 0.1, north - 0.1]))
    q = s / (2 * (1 - e2 * s**2)) + np.arctanh(e * s) / (2 * e)
    exact = np.radians(east - west - 0.2) * a**2 * (1 - e2) * np.diff(q)[0] / 1e4
    assert inventory.stands["area_ha"][0] == pytest.approx(exact, rel=1e-7)


def test_an_inventory_without_ids_is_numbered_by_row(tmp_path):
    inventory = read_inventory(saved(stands(), tmp_path), Fields("V"), GRID)
    assert inventory.stands["id"].tolist() == ["row 1", "row 2", "row 3"]
    assert inventory.problems == ()


def test_species_and_groups_come_as_text(tmp_path):
    frame = stands(species=["云南松", None, "栎类"], town=[1, 2, 2])
    fields = Fields("V", "ID", species="species", groups=("town",))
    found = read_inventory(saved(frame, tmp_path), fields, GRID).stands
    assert found["species"].tolist() == ["云南松", "", "栎类"]
    assert found["town"].tolist() == ["1", "2", "2"]
    with pytest.raises(InputError, match="'species' has a name"):
        read_inventory(tmp_path / "stands.gpkg", Fields("V", groups=("species",)), GRID)


# --- where it lies


@faults
def test_a_missing_prj_is_answered_with_the_option(tmp_path):
    path = saved(stands(), tmp_path, "stands.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(InputError, match="--assume-crs"):
        read_inventory(path, FIELDS, GRID)
    found = read_inventory(path, FIELDS, GRID, assume_crs=UTM)
    assert found.stands.geometry[0].equals(stands().geometry[0])


def test_an_assumed_crs_cannot_overrule_the_files(tmp_path):
    path = saved(stands(), tmp_path)
    assert len(read_inventory(path, FIELDS, GRID, assume_crs=UTM).stands) == 3
    with pytest.raises(InputError, match="not 'EPSG:4490'"):
        read_inventory(path, FIELDS, GRID, assume_crs="EPSG:4490")


@faults
def test_cgcs2000_is_accepted_with_a_note(tmp_path):
    moved = stands().to_crs("EPSG:4543")
    found = read_inventory(saved(moved, tmp_path, "stands.shp"), FIELDS, GRID)
    assert any("CGCS2000" in note for note in found.notes)
    gap = shapely.hausdorff_distance(found.stands.geometry[0], stands().geometry[0])
    assert gap < 0.01


@faults
@pytest.mark.parametrize("crs", ["EPSG:2382", "EPSG:2433", "EPSG:4610", "EPSG:4214"])
def test_xian_1980_and_beijing_1954_are_refused(tmp_path, crs):
    path = saved(stands(), tmp_path, "stands.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(GridError, match="old Chinese datum"):
        read_inventory(path, FIELDS, GRID, assume_crs=crs)


@faults
@pytest.mark.parametrize("crs", ["EPSG:4326", UTM])
def test_swapped_axes_are_recognised(tmp_path, crs):
    moved = stands().to_crs(crs)
    swapped = shapely.transform(moved.geometry.to_numpy(), lambda xy: xy[:, ::-1])
    frame = with_shapes(moved, dict(enumerate(swapped)))
    with pytest.raises(InputError, match="axes look swapped"):
        read_inventory(saved(frame, tmp_path), FIELDS, GRID)


@faults
def test_a_zone_number_in_front_of_eastings_is_recognised(tmp_path):
    moved = stands().to_crs("EPSG:4543")  # CGCS2000, central meridian 102°: zone 34
    shifted = shapely.transform(moved.geometry.to_numpy(), lambda xy: xy + np.array([34e6, 0]))
    frame = with_shapes(moved, dict(enumerate(shifted)))
    with pytest.raises(InputError, match="carry the zone number 34 in front"):
        read_inventory(saved(frame, tmp_path), FIELDS, GRID)


@faults
def test_eastings_without_the_zone_number_of_their_crs_are_recognised(tmp_path):
    moved = stands().to_crs("EPSG:4522")  # CGCS2000, zone 34, eastings 34,500,000
    shifted = shapely.transform(moved.geometry.to_numpy(), lambda xy: xy - np.array([34e6, 0]))
    frame = with_shapes(moved, dict(enumerate(shifted)))
    with pytest.raises(InputError, match="lack the zone number 34"):
        read_inventory(saved(frame, tmp_path), FIELDS, GRID)


def test_an_inventory_of_another_place_is_refused_with_both_boxes(tmp_path):
    far = with_shapes(stands(1), {0: box(X + 9e4, Y, X + 9.01e4, Y + 100)})
    with pytest.raises(InputError, match=r"x 340000…340100.*x 250000…252000.*check the region"):
        read_inventory(saved(far, tmp_path), FIELDS, GRID)


def test_stands_off_the_grid_stay_where_some_lie_on_it(tmp_path):
    frame = with_shapes(stands(), {2: box(X + 9e4, Y, X + 9.01e4, Y + 100)})
    assert len(read_inventory(saved(frame, tmp_path), FIELDS, GRID).stands) == 3


# --- numbers and ids


def refused(frame, folder, kind, **options):
    """The message that stops the run, and the inventory that going on gives."""
    path = saved(frame, folder)
    with pytest.raises(LabelError, match=str(kind)) as error:
        read_inventory(path, FIELDS, GRID, **options)
    return str(error.value), read_inventory(path, FIELDS, GRID, keep_going=True, **options)


@faults
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-9999, "nodata-like volume"),
        (-999, "nodata-like volume"),
        (9999, "nodata-like volume"),
        (65535, "nodata-like volume"),
        (32767, "nodata-like volume"),
        (1e20, "nodata-like volume"),
        (-3.4028234663852886e38, "nodata-like volume"),
        (np.inf, "nodata-like volume"),
        (-5, "negative volume"),
        (12_345, "implausible volume"),
    ],
)
def test_a_volume_that_is_none_stops_the_run_and_names_the_stand(tmp_path, value, kind):
    message, went_on = refused(stands(V=[100.0, value, 0.0]), tmp_path, kind)
    assert f"{kind}: 1 stand (s1)" in message
    assert "--keep-going" in message
    assert went_on.stands["id"].tolist() == ["s0", "s2"]
    assert went_on.stands["growing_stock"].tolist() == [100.0, 0.0]
    assert went_on.dropped == ("s1",)
    assert problem(went_on, kind).ids == ("s1",)


def test_a_declared_nodata_code_is_an_unknown_volume(tmp_path):
    path = saved(stands(V=[100.0, -9999.0, 0.0]), tmp_path)
    found = read_inventory(path, FIELDS, GRID, nodata=(-9999,))
    np.testing.assert_array_equal(found.stands["growing_stock"], [100, np.nan, 0])
    assert problem(found, Kind.MISSING_VOLUME).ids == ("s1",)


def test_missing_volumes_are_counted_and_kept_as_unknown(tmp_path):
    found = read_inventory(saved(stands(V=[100.0, None, 0.0]), tmp_path), FIELDS, GRID)
    np.testing.assert_array_equal(found.stands["growing_stock"], [100, np.nan, 0])
    missing = problem(found, Kind.MISSING_VOLUME)
    assert missing.ids == ("s1",)
    assert missing.repairable


def test_an_inventory_of_unknown_volumes_is_refused(tmp_path):
    with pytest.raises(LabelError, match="no stand has a known volume in V"):
        read_inventory(saved(stands(V=[np.nan] * 3), tmp_path), FIELDS, GRID)


@faults
@pytest.mark.parametrize("name", ["stands.shp", "stands.gpkg", "stands.parquet"])
def test_numbers_stored_as_text_are_read_and_words_among_them_refused(tmp_path, name):
    path = saved(stands(4, V=["100", " 7.5 ", "", "无"]), tmp_path, name)
    with pytest.raises(LabelError, match=r"text in a number field: 1 stand \(s3\): V holds '无'"):
        read_inventory(path, FIELDS, GRID)
    found = read_inventory(path, FIELDS, GRID, keep_going=True)
    np.testing.assert_array_equal(found.stands["growing_stock"], [100, 7.5, np.nan])
    assert problem(found, Kind.NUMBER_AS_TEXT).ids == ("s0", "s1")
    assert problem(found, Kind.MISSING_VOLUME).ids == ("s2",)


@faults
def test_duplicated_and_missing_ids_are_made_unique_and_named(tmp_path):
    frame = stands(5, ID=["a", "a", "a#2", None, "a"])
    found = read_inventory(saved(frame, tmp_path), FIELDS, GRID)
    assert found.stands["id"].tolist() == ["a", "a#3", "a#2", "row 4", "a#4"]
    assert len(problem(found, Kind.DUPLICATED_ID).ids) == 3
    assert problem(found, Kind.MISSING_ID).ids == ("row 4",)


def test_an_id_is_the_same_as_text_and_as_number(tmp_path):
    text = read_inventory(saved(stands(ID=["376", "334", "9"]), tmp_path, "a.gpkg"), FIELDS, GRID)
    whole = read_inventory(saved(stands(ID=[376, 334, 9]), tmp_path, "b.gpkg"), FIELDS, GRID)
    real = read_inventory(saved(stands(ID=[376.0, 334, 9]), tmp_path, "c.gpkg"), FIELDS, GRID)
    assert text.stands["id"].tolist() == whole.stands["id"].tolist() == real.stands["id"].tolist()


def test_areas_that_differ_are_reported_and_the_measured_ones_used(tmp_path):
    path = saved(stands(A=[1.0, 3.0, None]), tmp_path)
    found = read_inventory(path, Fields("V", "ID", area="A"), GRID)
    differs = problem(found, Kind.AREA_DIFFERS)
    assert differs.ids == ("s1",)
    assert differs.repairable
    assert "s1: 3 against 0.99" in differs.detail
    np.testing.assert_array_equal(found.stands["inventory_area_ha"], [1, 3, np.nan])
    assert found.stands["area_ha"].between(0.99, 1.01).all()


@pytest.mark.parametrize(("per_ha", "unit"), [(15, "mu"), (10_000, "m²"), (0.01, "km²")])
def test_areas_in_another_unit_are_recognised(tmp_path, per_ha, unit):
    path = saved(stands(A=[1.0 * per_ha] * 3), tmp_path)
    found = read_inventory(path, Fields("V", "ID", area="A"), GRID)
    assert f"looks like {unit}" in problem(found, Kind.AREA_DIFFERS).detail


# --- outlines


@faults
@pytest.mark.parametrize("shape", [None, Polygon()])
def test_a_stand_without_outline_stops_the_run_by_name(tmp_path, shape):
    message, went_on = refused(with_shapes(stands(), {1: shape}), tmp_path, "empty geometry")
    assert "empty geometry: 1 stand (s1)" in message
    assert went_on.stands["id"].tolist() == ["s0", "s2"]


@faults
def test_points_and_lines_among_the_stands_are_named(tmp_path):
    frame = with_shapes(stands(), {0: Point(X, Y), 2: shapely.LineString([(X, Y), (X + 1, Y)])})
    message, went_on = refused(frame, tmp_path, "not a polygon")
    assert "2 stands (s0, s2): 1 Point, 1 LineString" in message
    assert went_on.stands["id"].tolist() == ["s1"]


@faults
def test_a_bow_tie_is_repaired_and_said_so(tmp_path):
    tie = Polygon([(X, Y), (X + 100, Y + 100), (X + 100, Y), (X, Y + 100)])
    found = read_inventory(saved(with_shapes(stands(), {0: tie}), tmp_path), FIELDS, GRID)
    assert problem(found, Kind.INVALID_OUTLINE).ids == ("s0",)
    assert found.stands.geometry.is_valid.all()
    assert found.stands["area_ha"][0] == pytest.approx(0.5, rel=1e-3)


def touching(x, y):
    """A hectare with a hole whose tip touches an edge: valid, and only just."""
    return Polygon(
        [(x, y), (x + 100, y), (x + 100, y + 100), (x, y + 100)],
        [[(x + 50, y), (x + 70, y + 40), (x + 30, y + 40)]],
    )


def in_degrees(shapes):
    """Shapes put upright there, so that what touches still touches, and inside the grid."""
    west, south = (v[0] for v in crs_.transform_points(UTM, "EPSG:4490", X + 50, Y + 50))
    return [shapely.transform(s, lambda xy: (xy - [X, Y]) * 1e-5 + [west, south]) for s in shapes]


@faults
@pytest.mark.parametrize("albers", [True, False])
def test_outlines_are_valid_on_the_grid_and_not_only_in_the_file(tmp_path, albers):
    shapes = in_degrees([touching(X, Y), stands().geometry[1], stands().geometry[2]])
    assert shapely.is_valid(shapes).all()
    frame = with_shapes(stands(), dict(enumerate(shapes)), crs="EPSG:4490")
    grid = GRID
    if albers:
        box_ = crs_.transform_bounds(UTM, crs_text("china-albers"), GRID.bounds)
        grid = Grid.covering(box_, crs_text("china-albers"), 20)
    found = read_inventory(saved(frame, tmp_path), FIELDS, grid)
    assert found.stands.geometry.is_valid.all()
    assert problem(found, Kind.INVALID_OUTLINE).ids == ("s0",)
    assert problem(found, Kind.INVALID_OUTLINE).repairable
    # the hole is 0.4 × 0.4 ÷ 2 of the square beside it, whose area is known
    whole = found.stands["area_ha"][1]
    assert found.stands["area_ha"][0] == pytest.approx(0.92 * whole, rel=1e-6)
    polygons = np.array(found.stands.geometry.array, dtype=object)
    cover = polygon_coverage(polygons, grid)
    area = np.bincount(cover.stand, cover.fraction) * grid.pixel_m**2
    np.testing.assert_allclose(area, shapely.area(polygons), rtol=1e-6)
    parts, share = share_inside(polygons, shapely.box(*grid.bounds).buffer(-30))
    assert shapely.is_valid(parts).all()
    assert 0 <= share.min() <= share.max() <= 1


@faults
def test_a_ring_that_does_not_close_is_an_outline_that_is_missing(tmp_path):
    path = saved(stands(), tmp_path, "stands.shp")
    raw = bytearray(path.read_bytes())
    raw[100 + 8 + 48 + 4 * 16 : 100 + 8 + 48 + 4 * 16 + 8] = struct.pack("<d", X + 50)
    path.write_bytes(raw)
    with pytest.raises(LabelError, match=r"empty geometry: 1 stand \(s0\)"):
        read_inventory(path, FIELDS, GRID)


def test_an_outline_that_repair_leaves_nothing_of_is_refused(tmp_path):
    flat = Polygon([(X, Y), (X + 100, Y), (X, Y)])
    message, went_on = refused(with_shapes(stands(), {0: flat}), tmp_path, "empty geometry")
    assert "s0" in message
    assert went_on.dropped == ("s0",)


def test_of_a_collection_the_polygons_are_taken(tmp_path):
    part = stands().geometry[0]
    mixed = shapely.GeometryCollection([part, Point(X, Y), shapely.MultiPolygon([])])
    path = saved(with_shapes(stands(), {0: mixed}), tmp_path, "stands.parquet")
    found = read_inventory(path, FIELDS, GRID)
    assert found.stands.geometry[0].equals(part)
    assert problem(found, Kind.INVALID_OUTLINE).ids == ("s0",)


def test_heights_are_dropped_and_noted(tmp_path):
    high = shapely.force_3d(stands().geometry[0], 1900.0)
    found = read_inventory(saved(with_shapes(stands(), {0: high}), tmp_path), FIELDS, GRID)
    assert not found.stands.has_z.any()
    assert any("heights" in note for note in found.notes)


@faults
def test_coordinates_that_are_not_numbers_are_refused_by_name(tmp_path):
    bad = Polygon([(X, Y), (X + 100, Y), (X, np.inf)])
    path = saved(with_shapes(stands(), {1: bad}), tmp_path, "stands.parquet")
    with pytest.raises(LabelError, match=r"broken coordinates: 1 stand \(s1\)"):
        read_inventory(path, FIELDS, GRID)


@faults
def test_of_repeated_polygons_the_first_stays_where_the_user_goes_on(tmp_path):
    shape = stands().geometry[0]
    turned = Polygon(np.roll(np.array(shape.exterior.coords)[:-1], 2, axis=0)[::-1])
    frame = with_shapes(stands(4, V=[100.0, 100.0, 5.0, 9.0]), {1: shape, 2: turned})
    message, went_on = refused(frame, tmp_path, "repeated polygon")
    assert "3 stands (s0, s1, s2): 2 records repeat" in message
    assert "1 of them with the same volume" in message
    assert went_on.stands["id"].tolist() == ["s0", "s3"]
    assert kinds(went_on) == {"repeated polygon"}


@faults
def test_overlaps_are_never_summed_in_silence(tmp_path):
    frame = with_shapes(stands(4), {1: box(X + 90, Y, X + 190, Y + 100)})
    message, went_on = refused(frame, tmp_path, "overlap")
    assert "overlap: 2 stands (s0, s1): 1 pairs share 0.0999" in message
    assert "s0 and s1" in message
    assert went_on.stands["id"].tolist() == ["s0", "s1", "s2", "s3"]
    assert (went_on.overlaps.first.tolist(), went_on.overlaps.second.tolist()) == ([0], [1])
    assert went_on.overlaps.area[0] == pytest.approx(0.1, rel=2e-3)
    assert went_on.dropped == ()


def test_overlaps_are_counted_by_the_rows_that_stay(tmp_path):
    frame = with_shapes(stands(4, V=[-1.0, 1.0, 1.0, 1.0]), {3: box(X + 490, Y, X + 590, Y + 100)})
    went_on = read_inventory(saved(frame, tmp_path), FIELDS, GRID, keep_going=True)
    pair = [went_on.overlaps.first[0], went_on.overlaps.second[0]]
    assert went_on.stands["id"][pair].tolist() == ["s2", "s3"]


def test_hectares_of_an_overlap_in_degrees_are_those_of_the_smaller_stand(tmp_path):
    grid = Grid.covering((X, Y, X + 100_000, Y + 600_000), UTM, 1000)
    west, south, east, north = grid.wgs84_bounds
    tall = box(west + 0.4, south + 0.5, west + 0.5, north - 0.2)
    small = box(west + 0.4, north - 0.3, west + 0.41, north - 0.29)
    frame = with_shapes(stands(2), {0: tall, 1: small}, crs="EPSG:4326")
    found = read_inventory(saved(frame, tmp_path), FIELDS, grid, keep_going=True)
    assert found.overlaps.area[0] == pytest.approx(found.stands["area_ha"][1], rel=1e-9)
    assert east > west + 0.5


@pytest.mark.parametrize(("width", "stops"), [(0.5, False), (9.9, False), (10.1, True)])
def test_a_border_drawn_twice_is_reported_and_ground_claimed_twice_stops(tmp_path, width, stops):
    frame = with_shapes(stands(), {1: box(X + 100 - width, Y, X + 200 - width, Y + 100)})
    path = saved(frame, tmp_path)
    if stops:
        with pytest.raises(LabelError, match="overlap"):
            read_inventory(path, FIELDS, GRID)
    found = read_inventory(path, FIELDS, GRID, keep_going=stops)
    kind = Kind.OVERLAP if stops else Kind.BORDER_OVERLAP
    assert problem(found, kind).ids == ("s0", "s1")
    assert problem(found, kind).repairable is not stops
    assert found.overlaps.area[0] == pytest.approx(width / 100, rel=2e-3)


def test_stands_that_share_a_border_do_not_overlap_in_any_crs(tmp_path):
    shapes = [box(X + 100 * i, Y, X + 100 * i + 100, Y + 100 + 50 * i) for i in range(3)]
    frame = with_shapes(stands(), dict(enumerate(shapes)))
    for crs in (UTM, "EPSG:4490", "EPSG:4543"):
        path = saved(frame.to_crs(crs), tmp_path, f"{crs[5:]}.gpkg")
        assert not kinds(read_inventory(path, FIELDS, GRID)) & {"overlap"}
    assert read_inventory(tmp_path / "32648.gpkg", FIELDS, GRID).overlaps.first.size == 0


@faults
def test_one_message_lists_every_problem(tmp_path):
    frame = stands(6, V=[-9999.0, -5.0, 1.0, 1.0, 1.0, 1.0], ID=list("abcdef"))
    changes = {2: None, 3: Point(X, Y), 5: box(X + 850, Y, X + 950, Y + 100)}
    path = saved(with_shapes(frame, changes), tmp_path)
    with pytest.raises(LabelError) as error:
        read_inventory(path, FIELDS, GRID)
    for line in (
        "nodata-like volume: 1 stand (a)",
        "negative volume: 1 stand (b)",
        "empty geometry: 1 stand (c)",
        "not a polygon: 1 stand (d)",
        "overlap: 2 stands (e, f)",
    ):
        assert line in str(error.value)
    assert "5 kinds of problems" in str(error.value)


def test_many_ids_are_counted_and_not_listed(tmp_path):
    frame = stands(25, V=[-5.0] * 24 + [1.0])
    with pytest.raises(LabelError, match=r"24 stands \(s0, .*, s9 and 14 more\)"):
        read_inventory(saved(frame, tmp_path), FIELDS, GRID)


def test_going_on_with_nothing_is_refused(tmp_path):
    path = saved(stands(V=[-5.0] * 3), tmp_path)
    with pytest.raises(LabelError, match="no usable stand left"):
        read_inventory(path, FIELDS, GRID, keep_going=True)


def test_a_boundary_is_the_union_of_its_polygons(tmp_path):
    shapes = [box(X, Y, X + 100, Y + 100), box(X + 50, Y, X + 200, Y + 100), Point(X, Y)]
    frame = with_shapes(stands(), dict(enumerate(shapes))).to_crs("EPSG:4490")
    outline = read_boundary(saved(frame, tmp_path), UTM)
    assert outline.geom_type == "Polygon"
    assert outline.area == pytest.approx(200 * 100, rel=1e-6)
    with pytest.raises(InputError, match="holds no polygon"):
        read_boundary(saved(frame.iloc[[2]], tmp_path, "points.gpkg"), UTM)


@faults
@pytest.mark.parametrize("count", [1, 2])
def test_a_boundary_is_valid_in_the_regions_crs(tmp_path, count):
    shapes = in_degrees([touching(X, Y), touching(X + 200, Y)][:count])
    frame = with_shapes(stands(count), dict(enumerate(shapes)), crs="EPSG:4490")
    outline = read_boundary(saved(frame, tmp_path), crs_text("china-albers"))
    assert outline.is_valid
    assert outline.area == pytest.approx(count * 0.92 * 1.108e4, rel=1e-3)


@faults
def test_a_boundary_with_a_part_that_lies_nowhere_is_refused(tmp_path):
    frame = with_shapes(stands(2).to_crs("EPSG:4326"), {1: box(103, 95, 104, 96)})
    with pytest.raises(InputError, match=r"boundary .*cannot show .*record 2"):
        read_boundary(saved(frame, tmp_path), UTM)


# --- real data


@needs_data
def test_the_zion_inventory_is_read_whole():
    grid = Grid.covering((301905, 4111245, 335745, 4154085), "EPSG:32612", 30, (301905, 4154085))
    fields = Fields("HUO_LMGQXJ", "XIAO_BAN", "MIAN_JI", "YOU_SHI_SZ", ("DI_LEI",))
    found = read_inventory(DATA / "zion/inventory_west.shp", fields, grid)
    assert len(found.stands) == 2232
    assert set(found.stands["species"]) == {"云南松", "华山松", "栎类", "无"}
    assert found.stands["id"][0] == "00001"
    assert (found.stands["growing_stock"] == 0).sum() == 880
    # its outlines were simplified one by one; 0.8 % of the ground is covered twice
    assert {p.kind for p in found.problems} == {Kind.BORDER_OVERLAP}
    assert found.overlaps.area.sum() / found.stands["area_ha"].sum() == pytest.approx(
        0.0078, rel=0.01
    )
    assert found.stands["area_ha"].sum() == pytest.approx(
        found.stands["inventory_area_ha"].sum(), rel=2e-3
    )


@needs_data
def test_finnish_stands_join_their_table_whatever_the_type_of_the_id(tmp_path):
    folder = DATA / "qgis_forestry"
    drawn = gpd.read_file(folder / "digitizing/forest_stands.shp")
    lines = (folder / "rautjarvi_1994.csv").read_text("latin-1").splitlines()[1:]
    volumes = {line.split(",")[0]: float(line.split(",")[5]) for line in lines}
    grid = Grid.covering(tuple(drawn.total_bounds), "EPSG:3067", 10)
    drawn["Vol"] = [volumes[i] for i in drawn["ID"]]
    text = read_inventory(saved(drawn, tmp_path, "text.shp"), Fields("Vol", "ID"), grid)
    drawn["ID"] = drawn["ID"].astype(int)
    whole = read_inventory(saved(drawn, tmp_path, "whole.gpkg"), Fields("Vol", "ID"), grid)
    assert text.stands["id"].tolist() == whole.stands["id"].tolist()
    assert len(text.stands) == 22
    assert text.stands["growing_stock"].tolist() == drawn["Vol"].tolist()
