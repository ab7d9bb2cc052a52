"""What must not pass in silence: leaks, mixed units, mixed pools, stale files, mass lost."""

import dataclasses
import re
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from carbonmap.errors import CorruptData, ModelError
from carbonmap.grid import Grid
from carbonmap.models import regressors
from carbonmap.stages import common, label_report, mapping
from carbonmap.stages import evaluate as evaluate_
from carbonmap.stages import labels as labels_
from carbonmap.tiles import tiles
from tests.conftest import FIELDS, MAP, SPLIT, bands_of, report, stands_of

IPCC = ["--profile", "ipcc", "--stratum", "temperate-pines"]


def test_gaps_between_training_stands_are_no_held_out_land(copy):
    """Every second stand is labelled; the truth is known everywhere."""
    stands = stands_of(copy)
    stands.iloc[::2].to_file(copy.path / "half.shp", encoding="GBK")
    copy.run("build-labels", "half.shp", *FIELDS, "-o", "half")
    copy.run(
        "train",
        "--model",
        "ols",
        "--dates",
        "2020-11",
        *SPLIT,
        "--labels",
        "half",
        "-o",
        "models/half",
    )
    copy.run("predict", "--dates", "2020-11", "--model", "models/half", "-o", "half-maps")
    copy.run("evaluate", "half-maps", "--truth", "county/truth.tif", "-o", "half-e")
    told = report(copy, "half-e", "evaluation.json")["maps"][MAP]
    assert told["held_out"] == told["validation"]
    split = gpd.read_parquet(copy.path / "models" / "half" / "split.parquet")
    near = split[split["role"] == "train"].buffer(50).union_all()
    with rasterio.open(copy.path / "county" / "truth.tif") as source:
        rows, cols = np.indices(source.shape)
        x, y = rasterio.transform.xy(source.transform, rows.ravel(), cols.ravel())
    far = ~gpd.GeoSeries.from_xy(x, y, crs=split.crs).within(near).to_numpy()
    assert told["outside"]["pixels"] + told["validation"]["pixels"] <= far.sum()


def test_every_model_is_judged_on_one_scale(copy):
    """The labels' largest density, whatever a model happened to draw."""
    scales = set()
    for kind in ("ols", "svr"):
        words = ["train", "--model", kind, "--dates", "2020-11", *SPLIT, "--labels", "labels"]
        copy.run(*words, "-o", kind)
        scales.add(report(copy, kind, "model.json")["label_scale_mg_c_ha"])
    with rasterio.open(copy.path / "labels" / "carbon_density.tif") as source:
        largest = float(np.nanmax(source.read(1)))
    assert [*scales] == [pytest.approx(largest, rel=1e-6)]


def test_counts_where_the_model_learned_reflectance_are_refused(copy, capsys):
    bands = bands_of("2020-08-15")
    copy.run("ingest", "image", "--bands", bands, "--date", "2020-08-15")
    copy.run("predict", "--dates", "2020-08", "--model", "models/ols", "-o", "m", code=1)
    assert "--scale 0.0001" in capsys.readouterr().err
    copy.run("train", "--model", "ols", "--dates", "2020-08/2020-11", *SPLIT, "-o", "both", code=1)
    assert "ingest them alike" in capsys.readouterr().err


def test_carbon_with_soil_is_not_compared_with_carbon_without(copy, capsys):
    copy.run("build-labels", "county/inventory.shp", *FIELDS, *IPCC, "-o", "ipcc")
    copy.run("evaluate", "maps", "--truth", "ipcc", "-o", "e", code=1)
    err = capsys.readouterr().err
    assert "floor_and_soil" in err
    assert "above_ground" in err


def test_overwriting_leaves_no_map_of_the_old_pools(copy):
    copy.run("build-labels", "county/inventory.shp", *FIELDS, *IPCC, "-o", "labels", "--overwrite")
    names = set(copy.products("labels"))
    assert "carbon_density_above_ground.tif" in names
    assert not {n for n in names if "floor_and_soil" in n or "trees" in n}
    assert names - {"labels.json"} == set(copy.json("labels", "labels.json")["files"])


def test_a_map_that_lost_mass_is_not_published(copy, monkeypatch):
    balance = label_report._balance
    monkeypatch.setattr(label_report, "_balance", lambda stock, found: balance(stock, found * 0.9))
    copy.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "wrong", code=1)
    assert list(copy.products("wrong")) == []
    stock = SimpleNamespace(inside={"trees": np.array([10.0])})
    with pytest.raises(CorruptData, match="mass is not conserved"):
        balance(stock, 9.0)


def test_land_that_two_stands_claim_teaches_nothing(copy):
    stands = stands_of(copy)
    stands.geometry = stands.buffer(12)  # borders drawn twice, 24 m wide
    stands.to_file(copy.path / "wide.shp", encoding="GBK")
    copy.run("build-labels", "wide.shp", *FIELDS, "-o", "wide", "--keep-going", code=None)
    with rasterio.open(copy.path / "wide" / "coverage.tif") as source:
        share = source.read(1)
    assert (share > 1.3).mean() > 0.05
    copy.run("train", "--model", "ols", "--dates", "2020-11", *SPLIT, "--labels", "wide", "-o", "m")
    once = ((share >= 0.9) & (share <= 1.001)).sum()
    assert report(copy, "m", "model.json")["training_pixels"] < once


def test_an_empty_map_is_an_error(copy, capsys):
    """The only forest is where the image has no value."""
    county, bands = copy.path / "county", ("blue", "green", "red", "nir")
    for band in bands:
        with rasterio.open(county / f"image_2020-11-15_{band}.tif") as source:
            profile, values = source.profile, source.read(1)
        values[7, 9] = profile["nodata"]
        with rasterio.open(county / f"hole_{band}.tif", "w", **profile) as out:
            out.write(values, 1)
    classes = np.ones(values.shape, np.uint8)
    classes[7, 9] = 9
    with rasterio.open(
        copy.path / "classes.tif", "w", **{**profile, "dtype": "uint8", "nodata": 0}
    ) as out:
        out.write(classes, 1)
    files = ",".join(f"{band}=county/hole_{band}.tif" for band in bands)
    copy.run("ingest", "image", "--bands", files, "--date", "2020-12-15", "--scale", "1e-4")
    how = ["--method", "layer", "--layer", "classes.tif", "--forest-classes", "9"]
    copy.run("mask", *how, "-o", "one.tif")
    capsys.readouterr()
    words = ["predict", "--dates", "2020-12", "--model", "models/ols", "--mask", "one.tif"]
    copy.run(*words, "-o", "m", code=1)
    assert "would be empty" in capsys.readouterr().err
    assert copy.products("m") == {}


def test_a_raster_of_another_program_is_not_called_incomplete(copy, capsys):
    predict = ["predict", "--dates", "2020-11", "--model", "models/ols"]
    copy.run(*predict, "--mask", "county/dem.tif", code=1)
    assert "make one with `carbonmap mask --method layer" in capsys.readouterr().err
    copy.run("evaluate", "county/dem.tif", "--truth", "labels", "-o", "e", code=1)
    assert "was not made by carbonmap" in capsys.readouterr().err
    (copy.path / "text.tif").write_text("a letter", encoding="utf-8")
    for words in ([*predict, "--mask", "text.tif"], ["evaluate", "text.tif", "--truth", "labels"]):
        copy.run(*words, code=1)
        assert "is not a GeoTIFF" in capsys.readouterr().err


def test_a_truth_is_density_and_no_map_its_own(copy, capsys):
    copy.run("evaluate", "maps", "--truth", "county/dem.tif", "-o", "e", code=1)
    assert "holds m; give carbon density" in capsys.readouterr().err
    copy.run("evaluate", "maps", "--truth", f"maps/{MAP}", "-o", "e", code=1)
    assert "compared with itself" in capsys.readouterr().err
    copy.run("evaluate", "maps", "--truth", "labels/carbon_density.tif", "-o", "file")
    copy.run("evaluate", "maps", "--truth", "labels", "-o", "folder")
    one, two = (report(copy, name, "evaluation.json")["maps"] for name in ("file", "folder"))
    assert one == two


def test_a_project_can_be_moved(copy):
    copy.run("evaluate", "maps", "--truth", "labels", "-o", "e")
    moved = type(copy)(copy.path.rename(copy.path.with_name("moved")))
    moved.run("evaluate", "maps", "--truth", "labels", "-o", "again")
    assert (
        report(moved, "again", "evaluation.json")["maps"]
        == (report(moved, "e", "evaluation.json")["maps"])
    )


def test_what_cannot_be_meant_is_refused_at_ingest(copy, capsys):
    dem = "county/dem.tif"
    for words, message in (
        (["image", "--date", "2020-05-15", "--bands", f"red={dem},nir={dem}"], "red and nir are"),
        (["dem", dem, "--scale", "0", "--overwrite"], "`scale` is 0|scale is 0"),
    ):
        copy.run("ingest", *words, code=1)
        assert re.search(message, capsys.readouterr().err)


def test_a_field_is_not_taken_for_the_volume_and_for_another_thing(copy, capsys):
    words = ["build-labels", "county/inventory.shp", "--volume-field", "MIAN_JI", "-o", "x"]
    copy.run(*words, "--area-field", "MIAN_JI", code=1)
    assert "'MIAN_JI' is named as volume and as area" in capsys.readouterr().err


def test_land_that_two_stands_claim_judges_nothing(copy):
    stands = stands_of(copy)
    stands.geometry = stands.buffer(12)
    stands.to_file(copy.path / "wide.shp", encoding="GBK")
    copy.run("build-labels", "wide.shp", *FIELDS, "-o", "wide", "--keep-going", code=None)
    copy.run("evaluate", "maps", "--truth", "wide", "-o", "e")
    told = report(copy, "e", "evaluation.json")["maps"][MAP]
    with rasterio.open(copy.path / "wide" / "coverage.tif") as source:
        share = source.read(1)
    with rasterio.open(copy.path / "maps" / MAP) as source:
        once = (share >= 0.9) & (share <= 1.001) & np.isfinite(source.read(1))
    assert (
        sum(told[r]["pixels"] for r in ("train", "validation", "buffer", "outside")) == once.sum()
    )


def test_a_model_outlives_a_training_that_fails_to_replace_it(copy, monkeypatch):
    def fail(*_):
        raise ModelError("too few")

    words = ["train", "--model", "ols", "--dates", "2020-11", *SPLIT, "--labels", "labels"]
    before = copy.products("models", "ols")
    with monkeypatch.context() as patch:
        patch.setattr(regressors, "fit", fail)
        copy.run(*words, "--seed", "9", "-o", "models/ols", "--overwrite", code=1)
    assert copy.products("models", "ols") == before
    copy.run("predict", "--dates", "2020-11", "--model", "models/ols", "-o", "again")


def test_an_inventory_of_another_year_is_said_so_wherever_it_is_compared(copy, capsys):
    copy.run("build-labels", "county/inventory.shp", *FIELDS, "--year", "2016", "-o", "old")
    assert copy.json("old", "summary.json")["inventory_year"] == 2016
    aside = [*SPLIT, "--set", "model.split.reference_share=0.6"]
    words = ["train", "--model", "ols", "--dates", "2020-11", *aside, "--labels", "old"]
    capsys.readouterr()
    copy.run(*words, "-o", "models/old")
    told = "2020-11-15 is 4 years younger"
    assert told in capsys.readouterr().out
    copy.run("predict", "--dates", "2020-11", "--model", "models/old", "-o", "m")
    capsys.readouterr()
    copy.run("evaluate", "m", "--truth", "old", "-o", "e")
    assert "2020-11 is 4 years younger" in capsys.readouterr().out
    copy.run("totals", f"m/{MAP}", "--labels", "old", "--evaluation", "e", "-o", "t")
    assert told in capsys.readouterr().out
    copy.run("report", "m", "--evaluation", "e", "-o", "r")
    assert "2020-11 is 4 years younger" in (copy.path / "r" / "report.html").read_text("utf-8")


def test_two_images_of_a_month_are_both_learned_from(copy):
    bands = bands_of("2020-08-15")
    copy.run("ingest", "image", "--bands", bands, "--date", "2020-11-20", "--scale", "1e-4")
    words = ["train", "--model", "ols", "--dates", "2020-11", *SPLIT, "--labels", "labels"]
    copy.run(*words, "-o", "both")
    assert report(copy, "both", "model.json")["dates"] == ["2020-11-15", "2020-11-20"]


def test_a_setting_of_training_leaves_labels_up_to_date(copy, capsys):
    words = ["build-labels", "county/inventory.shp", *FIELDS, "-o", "labels"]
    copy.run(*words, "--set", "labels.min_coverage=0.5")
    assert "up to date" in capsys.readouterr().out


def test_a_stand_that_its_pixels_do_not_cover_stops_the_labels(copy, monkeypatch, capsys):
    cover = labels_.polygon_coverage

    def less(polygons, grid):
        found = cover(polygons, grid)
        return dataclasses.replace(
            found, fraction=np.where(found.stand == 3, 0.9, 1) * found.fraction
        )

    monkeypatch.setattr(labels_, "polygon_coverage", less)
    copy.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "wrong", code=1)
    said = capsys.readouterr().err
    assert "1 stands (" in said
    assert copy.products("wrong") == {}


def test_land_is_compared_in_whole_tiles_all_over_a_region():
    grid = Grid("EPSG:32648", 16.0, 100, -300, 52_000, 64_000, (0.0, 0.0))
    every, some = list(tiles(grid, common.TILE_PX)), mapping.some_of(grid)
    assert len({tile.name for tile in some}) == len(some) == 64
    assert {tile.name for tile in some} <= {tile.name for tile in every}
    middles = np.array([[t.grid.row - 100 < 26_000, t.grid.col + 300 < 32_000] for t in some])
    quarters = np.bincount(middles @ [1, 2], minlength=4)
    assert quarters.min() >= 6  # of 16 on average
    small = Grid("EPSG:32648", 16.0, 0, 0, 10, 3000, (0.0, 0.0))
    assert {t.name for t in mapping.some_of(small)} == {
        t.name for t in tiles(small, common.TILE_PX)
    }


def test_the_scatters_pixels_do_not_depend_on_their_order(monkeypatch):
    monkeypatch.setattr(evaluate_, "PAIRS", 100)
    rows = np.random.default_rng(0).random((1000, 3))
    whole = evaluate_._thinned(rows)
    assert {*whole[:, 0]} == {*np.sort(rows[:, 0])[:100]}
    parts = np.empty((0, 3))
    for part in np.array_split(rows[::-1], 7):
        parts = evaluate_._thinned(np.concatenate([parts, part]))
    assert {*map(tuple, parts)} == {*map(tuple, whole)}


def test_a_run_that_goes_on_needs_no_room_for_what_it_has_finished(tmp_path, monkeypatch):
    needed = []
    monkeypatch.setattr(common.files, "require_space", lambda _, n: needed.append(n))
    work = SimpleNamespace(mark=tmp_path / "m.json", folder=tmp_path / "w")
    grid = SimpleNamespace(size=1000)
    (tmp_path / "w" / "map").mkdir(parents=True)
    common.require_space(work, grid, 2)
    (tmp_path / "w" / "map" / "tile.tif").write_bytes(bytes(4000))
    common.require_space(work, grid, 2)
    assert needed == [21_600, 17_600]
