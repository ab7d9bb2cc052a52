"""Windows that are computed once: what tiles give each other, on a small county."""

import dataclasses
import json
import threading

import numpy as np
import pytest
import rasterio
import shapely

from carbonmap import checkpoint
from carbonmap.coverage import polygon_coverage
from carbonmap.io import files
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.models import windows
from carbonmap.models.neural import Neural
from carbonmap.stages import common, predict, scope
from carbonmap.stages.sharing import TwoPass
from carbonmap.tiles import tiles
from tests.conftest import MAP

MODELS = {"network": "models/unet", "drawn": "models/iidm"}


@pytest.fixture(params=MODELS)
def place(request, monkeypatch):
    """The county with a network, in many tiles."""
    folder = request.getfixturevalue(request.param)  # made by the tiles that stages have
    monkeypatch.setattr(common, "TILE_PX", 96)
    monkeypatch.setattr(windows, "PERIOD_PX", 96)
    folder.model = MODELS[request.param]
    folder.words = ("predict", "--dates", "2020-11", "--model", folder.model, "-o")
    return folder


@pytest.fixture
def computed(monkeypatch):
    """Notes the windows that are computed, in batches."""
    seen, inner = [], Neural._densities
    monkeypatch.setattr(
        Neural, "_densities", lambda *a: (seen.append([(g.row, g.col) for g in a[2]]), inner(*a))[1]
    )
    return seen


def density(place, name):
    with rasterio.open(place.path / name / MAP) as source:
        return source.read(1)


def whole(place):
    """The map by a single call, and how many windows it took."""
    grid = stack_grid(place.path / "archive", "demo")
    model = checkpoint.load(place.path / place.model).model
    stack = open_stack(place.path / "archive", "demo", ["2020-11"])
    return model.predict(scope.read_layers(stack, grid, grid, model.layers, model.halo), grid)


def test_a_map_of_many_tiles_is_the_models_answer_and_takes_every_window_once(place, computed):
    want = whole(place)
    once = sorted(computed)
    assert len(set(map(str, once))) == len(once) > 20
    computed.clear()
    place.run(*place.words, "m", "--set", "output.threads=2")
    assert sorted(computed) == once
    found = density(place, "m")
    assert found.tobytes() == want.tobytes()
    assert len(np.unique(found[np.isfinite(found)])) > 1000


def test_a_run_that_stopped_while_joining_computes_no_window_again(place, computed, monkeypatch):
    place.run(*place.words, "unhurt")
    count = len(computed)
    with monkeypatch.context() as hurt:
        hurt.setattr(common, "_write_tile", lambda *_: (_ for _ in ()).throw(OSError("gone")))
        place.run(*place.words, "m", code=None)
    assert len(computed) == 2 * count
    (held,) = (place.path / "m").glob(".*.work/windows")
    spoiled = sorted(held.glob("*.npz"))[0]
    spoiled.write_bytes(spoiled.read_bytes()[:-9])
    place.run(*place.words, "m")
    assert 0 < len(computed) - 2 * count < count
    assert place.products("m") == place.products("unhurt")
    assert not list((place.path / "m").glob(".*"))


def test_a_window_beside_land_that_nobody_wants_is_shared_all_the_same(place):
    place.run("mask", "--method", "threshold", "--dates", "2020-11", "-o", "masks/forest.tif")
    place.run(*place.words, "all")
    place.run(*place.words, "forest", "--mask", "masks/forest.tif")
    whole, part = density(place, "all"), density(place, "forest")
    kept = np.isfinite(part)
    assert 0.1 < kept.sum() / np.isfinite(whole).sum() < 0.95
    np.testing.assert_array_equal(part[kept], whole[kept])


def test_what_the_first_pass_keeps_is_what_the_disk_was_asked_for(place, monkeypatch):
    asked = []
    monkeypatch.setattr(common, "require_space", lambda *a: asked.append(a[3]))
    written = {}
    inner = files.write_arrays

    def note(path, arrays):
        known = inner(path, arrays)
        written[path] = path.stat().st_size
        return known

    monkeypatch.setattr(files, "write_arrays", note)
    place.run(*place.words, "m")
    assert 0.5 * asked[0] < sum(written.values()) <= 1.1 * asked[0]
    assert json.loads((place.path / "m" / MAP.replace(".tif", ".json")).read_text())["files"]


def sliver(grid):
    """An edge of tiles with which the region's last row of them is at most four pixels high."""
    for edge in range(64, 128):
        if 1 <= min(t.grid.height for t in tiles(grid, edge)) <= 4:
            return edge
    raise AssertionError(grid)


def test_tiles_that_the_region_cuts_to_slivers_join_as_well(place, monkeypatch):
    edge = sliver(stack_grid(place.path / "archive", "demo"))
    monkeypatch.setattr(common, "TILE_PX", edge)
    monkeypatch.setattr(windows, "PERIOD_PX", edge)
    place.run(*place.words, "m")
    assert density(place, "m").tobytes() == whole(place).tobytes()


def test_a_boundary_that_crosses_tiles_and_rims_cuts_the_map_and_nothing_else(place, monkeypatch):
    grid = stack_grid(place.path / "archive", "demo")
    left, bottom, right, top = grid.bounds
    outline = shapely.Point((left + right) / 2, (bottom + top) / 2).buffer(0.4 * (right - left))
    inner = predict._plan
    monkeypatch.setattr(
        predict, "_plan", lambda *a: dataclasses.replace(inner(*a), outline=outline)
    )
    place.run(*place.words, "m")
    cover = polygon_coverage(np.array([outline], dtype=object), grid)
    share = np.bincount(cover.cell, cover.fraction, grid.size).reshape(grid.shape)
    want = np.where(share >= 0.5, whole(place), np.float32(np.nan))
    found = density(place, "m")
    assert 0.3 < np.isfinite(found).mean() < 0.7
    assert found.tobytes() == want.tobytes()


def test_shares_that_another_run_replaced_are_not_taken(place, capsys, monkeypatch):
    inner, replaced, turn = TwoPass.joined, [], threading.Lock()

    def joined(self, tile):
        with turn:  # none is joined before
            if not replaced:
                replaced.append(True)
                path = sorted((self.work.folder / "windows").glob("*.npz"))[0]
                files.write_arrays(path, {n: v + 1 for n, v in np.load(path).items()})
        return inner(self, tile)

    monkeypatch.setattr(TwoPass, "joined", joined)
    place.run(*place.words, "m", code=1)
    assert "changed since it was written, as by another run" in capsys.readouterr().err
    assert not (place.path / "m" / MAP).exists()
    place.run(*place.words, "m")
    assert density(place, "m").tobytes() == whole(place).tobytes()
