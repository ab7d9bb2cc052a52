"""Slope and aspect of the archive's elevation: lazy, and the same as of the whole array."""

import functools

import numpy as np
import pytest

from carbonmap import slopes, terrain
from carbonmap.grid import Grid
from carbonmap.io import output, store
from carbonmap.io.store import LayerInfo, WholeArray
from carbonmap.lazy import open_stack
from carbonmap.stages import scope

GRID = Grid.covering((0, 0, 45 * 16, 37 * 16), "EPSG:32648", 16)


def keep(archive, data, grid=GRID):
    """A finished elevation layer."""
    info = LayerInfo("elevation", grid, (), "m", "elevation", vertical="ellipsoid")
    folder = archive / "demo" / info.name
    array = store.create(folder / "data.zarr", info)
    for roi in store.chunk_rois(array.shape, array.chunks):
        store.write_block(array, None, roi, data[roi])
    output.write_mark(folder / "layer.json", {}, {}, {"layer": info.to_json()})
    return archive


@pytest.fixture
def rough(tmp_path, monkeypatch):
    """An archive of 5×6 chunks, the last ones narrow, in blocks of 2×2; and its elevation."""
    monkeypatch.setattr(store, "draw_array", functools.partial(store.draw_array, edge=8))
    rng = np.random.default_rng(11)
    data = rng.normal(2000, 30, GRID.shape).astype(np.float32)
    data[rng.random(GRID.shape) < 0.05] = np.nan
    data[3:9, 12:21] = 1500  # level land over a border between blocks
    return keep(tmp_path, data), data


def test_terrain_of_blocks_is_that_of_the_whole_to_the_bit(rough):
    archive, data = rough
    stack = open_stack(archive, "demo")
    assert stack["slope"].data.numblocks == (3, 3)
    for name, layer in slopes.LAYERS.items():
        got = stack[name].values
        assert got.dtype == np.float32
        assert got.tobytes() == layer.of(data, GRID.pixel_m).tobytes(), name


def test_nothing_is_read_until_it_is_asked_for(rough, monkeypatch):
    archive, _ = rough
    read = []
    take = WholeArray.__getitem__

    def watched(self, key):
        found = take(self, key)
        if found.size:  # dask asks for nothing at all, to see what kind of array it is
            read.append(key)
        return found

    monkeypatch.setattr(WholeArray, "__getitem__", watched)
    stack = open_stack(archive, "demo")
    assert {"slope", "aspect_sin", "aspect_cos"} <= set(stack.data_vars)
    assert read == []
    stack["slope"].isel(y=slice(0, 2), x=slice(0, 2)).compute()
    assert 0 < len(read) <= 4  # the block and those that its halo touches


def test_sine_and_cosine_are_those_of_the_aspect_and_zero_on_level_land(rough):
    archive, data = rough
    stack = open_stack(archive, "demo")
    steep, aspect = terrain.slope_aspect(data, GRID.pixel_m)
    level = steep == 0
    assert level[4:8, 13:20].all()
    tilted = steep > 0
    for name, function in (("aspect_sin", np.sin), ("aspect_cos", np.cos)):
        got = stack[name].values
        np.testing.assert_allclose(got[tilted], function(aspect[tilted]), atol=1e-6)
        np.testing.assert_array_equal(got[level], 0.0)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(data))
    np.testing.assert_allclose(stack["slope"].values, np.degrees(steep), rtol=1e-6)


@pytest.mark.parametrize(
    ("east", "north", "faces"), [(1, 0, (-1, 0)), (-1, 0, (1, 0)), (0, 1, (0, -1)), (0, -1, (0, 1))]
)
def test_a_plane_that_rises_one_in_one_is_45_degrees_steep_and_faces_downhill(east, north, faces):
    rows, cols = np.mgrid[0:6, 0:7]
    plane = (16.0 * (east * cols - north * rows)).astype(np.float32)
    np.testing.assert_allclose(slopes.slope_deg(plane, 16.0), 45)
    np.testing.assert_array_equal(slopes.aspect_sin(plane, 16.0), faces[0])
    np.testing.assert_array_equal(slopes.aspect_cos(plane, 16.0), faces[1])


def test_layers_say_what_they_are(rough):
    stack = open_stack(rough[0], "demo")
    assert stack["slope"].attrs == {"units": "degree", "long_name": "slope from the horizontal"}
    assert stack["aspect_sin"].attrs["units"] == "1"
    assert stack["elevation"].attrs["vertical_datum"] == "ellipsoid"
    assert stack["slope"].dims == ("y", "x")
    assert stack["slope"].rio.crs is not None


def test_what_stages_read_stays_as_it_was(rough):
    """`scope` takes layers by name; the derived ones are read by the same rule, halo and all."""
    archive, data = rough
    stack = open_stack(archive, "demo", dates=())
    scope.require_layers(stack, ["elevation"])
    assert scope.require_model_layers(stack, ["elevation"]) == ["elevation"]
    part = GRID[4:20, 6:30]
    held = scope.read_layers(stack, GRID, part, ["elevation", "slope"], 2)
    np.testing.assert_array_equal(held["elevation"], data[2:22, 4:32])
    np.testing.assert_array_equal(held["slope"], slopes.slope_deg(data, 16.0)[2:22, 4:32])


def test_a_region_of_one_row_has_no_slope(tmp_path):
    row = Grid.covering((0, 0, 45 * 16, 16), "EPSG:32648", 16)
    stack = open_stack(keep(tmp_path, np.zeros(row.shape, np.float32), row), "demo")
    assert set(stack.data_vars) == {"elevation"}
