"""DEM scenes and canopy tiles go into the archive by their own names, datum and all."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap import crs
from carbonmap.errors import InputError, OutputExists
from carbonmap.grid import Grid
from carbonmap.io import files, output, store
from carbonmap.io.raster import Source
from carbonmap.lazy import open_stack
from carbonmap.stages import ingest
from carbonmap.stages.ingest import Warping

LON, LAT = 102.0, 26.0
"""On the border between the UTM zones 47 and 48, and in the middle of the small region."""

EAST, NORTH = (v.item() for v in crs.transform_points("EPSG:4326", "EPSG:32648", [LON], [LAT]))
GRID = Grid.covering((EAST - 400, NORTH - 400, EAST + 400, NORTH + 400), "EPSG:32648", 16)

NAMES = ("AP_24748_FBD_F0520_RT1.dem.tif", "AP_19132_FBD_F0510_RT1.dem.tif")
TILE = "ETH_GlobalCanopyHeight_10m_2020_N{}E102_Map.tif"


def write(path, data, system, transform, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1,
        dtype=data.dtype, crs=system, transform=transform, nodata=nodata,
    ) as out:  # fmt: skip
        out.write(data, 1)
    return path


def dem_scene(path, zone, height):
    """Level land of 12.5 m pixels all over the region, in a zone of UTM."""
    x, y = crs.transform_points("EPSG:4326", f"EPSG:{zone}", [LON], [LAT])
    transform = from_origin(x.item() - 1000, y.item() + 1000, 12.5, 12.5)
    return write(path, np.full((160, 160), height, np.int16), f"EPSG:{zone}", transform)


def tile(path, north, value):
    """A tile of ETH's lattice, the middle's northern or southern land; half of it holds nothing."""
    step = 1 / 12000
    data = np.full((120, 240), value, np.uint8)
    data[60:] = 255
    where = from_origin(LON - 120 * step, LAT + 60 * step * north, step, step)
    return write(path, data, "EPSG:4326", where, 255)


def info_of(archive, name):
    return next(i for _, i in store.layers(archive, "demo") if i.name == name)


def run(archive, kind, *paths, **how):
    sources = [Source(p) for p in paths]
    return ingest.ingest_layer(archive, "demo", GRID, kind, sources, Warping(), threads=1, **how)


def test_dem_scenes_of_two_zones_ingest_from_their_folder_as_ellipsoidal(tmp_path):
    dem_scene(tmp_path / "dem" / NAMES[0], 32648, 2000)
    dem_scene(tmp_path / "dem" / "more" / NAMES[1], 32647, 2000)
    write(tmp_path / "dem" / "AP_24748_FBD_F0520_RT1_HH.tif", np.zeros((4, 4), np.uint8),
          "EPSG:32648", from_origin(500000, 9, 9, 9))  # fmt: skip
    report = run(tmp_path / "archive", "dem", tmp_path / "dem")
    assert "heights over the ellipsoid, by the files' names" in str(report)
    assert len(report.data["resampling"][0]) == 2
    assert info_of(tmp_path / "archive", "elevation").vertical == "ellipsoid"
    elevation = open_stack(tmp_path / "archive", "demo")["elevation"]
    assert (elevation.values == 2000).all()
    assert elevation.attrs["vertical_datum"] == "ellipsoid"


def test_canopy_tiles_ingest_from_their_folder_without_their_deviation(tmp_path):
    for north, value, name in ((True, 20, TILE.format(26)), (False, 30, TILE.format(23))):
        tile(tmp_path / "eth" / name, north, value)
        tile(tmp_path / "eth" / name.replace("_Map", "_Map_SD"), north, 5)
    run(tmp_path / "archive", "canopy-height", tmp_path / "eth")
    height = open_stack(tmp_path / "archive", "demo")["canopy_height"].values
    assert (np.isfinite(height)).all()
    np.testing.assert_allclose(height[:20], 20, rtol=1e-6)
    np.testing.assert_allclose(height[-20:], 30, rtol=1e-6)
    assert (
        "vertical"
        not in files.read_json(tmp_path / "archive" / "demo" / "canopy_height" / "layer.json")[
            "report"
        ]["layer"]
    )


def test_the_deviation_named_as_height_is_refused(tmp_path):
    path = tile(tmp_path / TILE.format(26).replace("_Map", "_Map_SD"), True, 5)
    with pytest.raises(InputError, match="standard deviation"):
        run(tmp_path / "archive", "canopy-height", path)
    assert not (tmp_path / "archive").exists()


def test_a_layer_of_before_datums_were_recorded_is_up_to_date_and_says_what_it_lacks(tmp_path):
    path, archive = dem_scene(tmp_path / NAMES[0], 32648, 2000), tmp_path / "archive"
    run(archive, "dem", path)
    mark = archive / "demo" / "elevation" / "layer.json"
    held = files.read_json(mark)
    assert "vertical" not in held["origin"]["layer"]
    del held["report"]["layer"]["vertical"]
    output.write_mark(mark, held["origin"], {}, held["report"])
    report = run(archive, "dem", path)
    assert report.data["state"] == "up to date"
    assert "does not record its heights' datum, ellipsoid" in str(report)
    run(archive, "dem", path, existing=output.Existing.OVERWRITE)
    assert "record" not in str(run(archive, "dem", path))


def test_a_layer_of_no_datum_has_the_mark_that_it_always_had(tmp_path):
    path = dem_scene(tmp_path / "plain.tif", 32648, 2000)
    run(tmp_path / "archive", "dem", path)
    mark = files.read_json(tmp_path / "archive" / "demo" / "elevation" / "layer.json")
    keys = {"kind", "grid", "bands", "units", "long_name", "date", "scale", "offset"}
    assert set(mark["origin"]["layer"]) == set(mark["report"]["layer"]) == keys
    assert set(mark["origin"]) == {"layer", "resampling", "sources"}


def test_stating_what_names_tell_changes_nothing_and_stating_otherwise_is_another_layer(tmp_path):
    path, archive = dem_scene(tmp_path / NAMES[0], 32648, 2000), tmp_path / "archive"
    run(archive, "dem", path)
    assert run(archive, "dem", path, heights="ellipsoid").data["state"] == "up to date"
    with pytest.raises(OutputExists, match="vertical"):
        run(archive, "dem", path, heights="geoid")


def test_heights_are_stated_on_the_command_line(project):
    project.run("ingest", "dem", "county/dem.tif", "--heights", "geoid", "--overwrite")
    assert info_of(project.path / "archive", "elevation").vertical == "geoid"
    code, _, err = project.call("ingest", "canopy-height", "county", "--overwrite")
    assert code == 1
    assert "holds no canopy-height whose name is known" in err
