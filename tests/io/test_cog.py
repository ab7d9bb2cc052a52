"""Maps: layout, tags, statistics, and what verification catches."""

import dataclasses
import math

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from carbonmap.errors import WriteError
from carbonmap.grid import Grid
from carbonmap.io import cog, raster
from carbonmap.io.cog import Layer, Sums
from carbonmap.tiles import tiles

GRID = Grid.covering((1600, 3200, 1600 + 700 * 16, 3200 + 1100 * 16), "EPSG:32648", 16)
DENSITY = Layer("carbon_density", "carbon density, all pools", "Mg C ha-1")


@pytest.fixture
def truth():
    data = np.random.default_rng(0).gamma(2, 30, GRID.shape).astype(np.float32)
    data[:300, :200] = np.nan
    data[600:620, 600:] = 0
    return data


def parts_of(data, folder, size=256, layer=DENSITY):
    parts, sums = [], Sums()
    for tile in tiles(GRID, size):
        piece = data[tile.roi]
        raster.write_tile(folder / f"{tile.name}.tif", piece, tile.grid, layer.nodata)
        parts.append((folder / f"{tile.name}.tif", tile.grid))
        sums += Sums.of(piece, layer.nodata)
    return parts, sums


def test_a_map_holds_what_its_tiles_held(tmp_path, truth):
    parts, sums = parts_of(truth, tmp_path)
    final = tmp_path / "map.tif"
    cog.write_cog(
        parts, GRID, DENSITY, {"CARBONMAP_POOLS": "trees & <soil> 土壤"}, sums, final, tmp_path
    )
    assert cog_validate(final, quiet=True)[0]
    with rasterio.open(final) as source:
        np.testing.assert_array_equal(source.read(1), truth)
        assert (source.descriptions, source.units) == (("carbon_density",), ("Mg C ha-1",))
        assert math.isnan(source.nodata)
        assert source.tags()["CARBONMAP_POOLS"] == "trees & <soil> 土壤"
        assert source.transform == GRID.transform
        statistics = {k: float(v) for k, v in source.tags(1).items() if k.startswith("STATISTICS")}
        assert statistics["STATISTICS_MEAN"] == pytest.approx(np.nanmean(truth), rel=1e-6)
        assert source.scales == (1.0,)
        for level in range(len(source.overviews(1))):
            with rasterio.open(final, OVERVIEW_LEVEL=level) as small:
                assert np.nanmin(small.read(1)) >= 0


def test_threads_do_not_change_a_byte_and_tiles_no_pixel(tmp_path, truth):
    files, pixels = set(), set()
    for size, threads in ((256, 1), (256, 4), (1024, 1)):
        folder = tmp_path / f"{size}-{threads}"
        parts, sums = parts_of(truth, folder, size)
        cog.write_cog(parts, GRID, DENSITY, {}, sums, folder / "map.tif", folder, threads=threads)
        if size == 256:
            files.add((folder / "map.tif").read_bytes())
        with rasterio.open(folder / "map.tif") as source:
            pixels.add(source.read(1).tobytes())
    assert len(files) == len(pixels) == 1


def test_a_missing_tile_is_nodata(tmp_path, truth):
    parts, _ = parts_of(truth, tmp_path)
    kept = [p for p in parts if p[0].name != parts[-1][0].name]
    left = truth.copy()
    left[GRID.roi_of(parts[-1][1])] = np.nan
    cog.write_cog(kept, GRID, DENSITY, {}, Sums.of(left, math.nan), tmp_path / "map.tif", tmp_path)
    with rasterio.open(tmp_path / "map.tif") as source:
        np.testing.assert_array_equal(source.read(1), left)


def test_a_map_that_does_not_hold_its_tiles_gets_no_name(tmp_path, truth):
    parts, sums = parts_of(truth, tmp_path)
    wrong = sums + Sums(1, 5.0, 5.0, 5.0)
    with pytest.raises(WriteError, match="does not hold what was computed"):
        cog.write_cog(parts, GRID, DENSITY, {}, wrong, tmp_path / "map.tif", tmp_path)
    assert not (tmp_path / "map.tif").exists()


def test_classes_have_a_palette_and_no_mixed_overviews(tmp_path):
    layer = Layer(
        "forest", "forest", "1", "uint8", 127, "MODE", ((0, (1, 2, 3, 255)), (255, (9, 8, 7, 255)))
    )
    data = np.random.default_rng(1).choice(np.array([0, 127, 255], np.uint8), GRID.shape)
    parts, sums = parts_of(data, tmp_path, layer=layer)
    cog.write_cog(parts, GRID, layer, {}, sums, tmp_path / "mask.tif", tmp_path)
    with rasterio.open(tmp_path / "mask.tif") as source:
        np.testing.assert_array_equal(source.read(1), data)
        assert source.colormap(1)[255] == (9, 8, 7, 255)
        assert source.nodata == 127
    with rasterio.open(tmp_path / "mask.tif", OVERVIEW_LEVEL=0) as small:
        assert set(np.unique(small.read(1))) <= {0, 127, 255}


@pytest.mark.faults
def test_a_map_cut_short_or_emptied_does_not_verify(tmp_path, truth):
    """Row 4: a killed copy opens and passes for valid; bytes and sums tell."""
    parts, sums = parts_of(truth, tmp_path)
    final = tmp_path / "map.tif"
    cog.write_cog(parts, GRID, DENSITY, {}, sums, final, tmp_path)
    assert cog.verify(final, GRID, DENSITY, sums) is None
    whole = final.read_bytes()
    final.write_bytes(whole[: len(whole) * 9 // 10])
    assert "without bytes" in cog.verify(final, GRID, DENSITY, sums)
    parts, _ = parts_of(np.full(GRID.shape, np.nan, np.float32), tmp_path / "empty")
    cog.write_cog(parts, GRID, DENSITY, {}, Sums(), final, tmp_path)
    assert cog_validate(final, quiet=True)[0]
    assert "instead of" in cog.verify(final, GRID, DENSITY, sums)


@pytest.mark.faults
def test_an_overview_without_a_value_is_noticed(tmp_path, truth):
    """Overviews drawn before the data were there: QGIS would show nothing."""
    path = tmp_path / "map.tif"
    rows, cols = GRID.shape
    profile = {"height": rows, "width": cols, "count": 1, "dtype": "float32", "nodata": np.nan}
    place = {"crs": GRID.crs, "transform": GRID.transform}
    with rasterio.open(path, "w", **profile, **place, tiled=True) as out:
        out.write(np.full(GRID.shape, np.nan, np.float32), 1)
    with rasterio.open(path, "r+") as late:
        late.build_overviews([2], rasterio.enums.Resampling.average)
        late.write(truth, 1)
    sums = Sums.of(truth, np.nan)
    assert cog.verify(path, GRID, DENSITY, sums) == "overview 0 is empty"
    classes = dataclasses.replace(DENSITY, overviews="MODE")  # few pixels may lose every vote
    assert cog.verify(path, GRID, classes, sums) is None


@pytest.mark.faults
@pytest.mark.parametrize("window", [2048, 200])
def test_an_overview_that_leaves_the_maps_range_is_noticed_however_large(
    tmp_path, monkeypatch, truth, window
):
    """Lanczos overviews of noise swing below zero; windows are smaller than the overview."""
    monkeypatch.setattr(cog, "READ_PX", window)
    swinging = dataclasses.replace(DENSITY, overviews="LANCZOS")
    parts, sums = parts_of(truth, tmp_path, layer=swinging)
    with pytest.raises(WriteError, match="overview 0 spans -"):
        cog.write_cog(parts, GRID, swinging, {}, sums, tmp_path / "map.tif", tmp_path)


def test_means_that_round_past_the_range_are_no_fault(tmp_path):
    same = np.full(GRID.shape, 0.1, np.float32)
    parts, sums = parts_of(same, tmp_path)
    cog.write_cog(parts, GRID, DENSITY, {}, sums, tmp_path / "map.tif", tmp_path)


@pytest.mark.faults
def test_a_write_that_the_disk_did_not_take_is_noticed(tmp_path, monkeypatch, truth):
    """Row 1: what reads back must be what was computed."""
    read = rasterio.DatasetReader.read
    monkeypatch.setattr(
        rasterio.DatasetReader, "read", lambda self, *a, **k: read(self, *a, **k) * 0
    )
    with pytest.raises(WriteError, match="does not read back"):
        raster.write_tile(tmp_path / "t.tif", truth, GRID, math.nan)
    assert list(tmp_path.iterdir()) == []


def test_sums_of_parts_are_the_sums_of_the_whole(truth):
    whole = Sums.of(truth, math.nan)
    parts = sum((Sums.of(truth[t.roi], math.nan) for t in tiles(GRID, 100)), Sums())
    assert parts.agrees(whole)
    assert not parts.agrees(whole + Sums(0, 1.0))
    assert Sums.from_json(whole.to_json()) == whole
    assert Sums.of(np.full((3, 3), np.nan), math.nan) == Sums() == Sums.from_json(Sums().to_json())
