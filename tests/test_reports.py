"""What a user is told: what is odd and kept, what was left out, what a figure is worth."""

import re
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from tests.conftest import FIELDS, MAP, SPLIT, report, stands_of

IPCC = ["--profile", "ipcc", "--stratum", "temperate-pines"]


def test_keep_going_says_so_again_when_nothing_is_left_to_do(copy, capsys):
    stands = stands_of(copy)
    stands.loc[3, "HUO_LMGQXJ"] = -9999
    stands.to_file(copy.path / "odd.shp", encoding="GBK")
    for _ in range(2):
        copy.run("build-labels", "odd.shp", *FIELDS, "--keep-going", "-o", "odd", code=3)
    assert capsys.readouterr().out.endswith("odd is up to date\n")


def test_a_mask_without_forest_names_the_codes_that_are_there(copy, capsys):
    with rasterio.open(copy.path / "county" / "dem.tif") as like:
        profile = {**like.profile, "dtype": "uint8", "nodata": 0}
        classes = np.arange(like.width * like.height).reshape(like.shape) % 3 * 10 + 11
    with rasterio.open(copy.path / "classes.tif", "w", **profile) as out:
        out.write(classes.astype(np.uint8), 1)
    words = ["mask", "--method", "layer", "--layer", "classes.tif", "-o", "m/none.tif"]
    copy.run(*words, "--forest-classes", "41", code=1)
    assert "codes 11, 21, 31" in capsys.readouterr().err
    threshold = ["mask", "--method", "threshold", "--dates", "2020-11", "-o", "m/none.tif"]
    copy.run(*threshold, "--min-height", "99", "--overwrite", code=1)
    assert "no forest at all: see --min-height" in capsys.readouterr().err
    assert copy.products("m") == {}


def test_overlaps_beyond_the_region_put_nothing_into_its_totals(copy):
    """The region's box holds the western half; what it cuts is split."""
    stands = stands_of(copy)
    stands.geometry = stands.buffer(2)
    stands.to_file(copy.path / "wide.shp", encoding="GBK")
    left, bottom, right, top = stands.total_bounds
    half = shapely.box(left, bottom, (left + right) / 2, top)
    gpd.GeoSeries([half], crs=stands.crs).to_file(copy.path / "half.gpkg")
    text = (copy.path / "carbonmap.toml").read_text(encoding="utf-8")
    words = ["build-labels", "wide.shp", *FIELDS]
    copy.run(*words, "-o", "whole")
    toml = re.sub(r"(?m)^bounds = .*$", 'boundary = "half.gpkg"', text)
    (copy.path / "carbonmap.toml").write_text(toml, encoding="utf-8")
    shutil.rmtree(copy.path / "archive")
    copy.run("ingest", "canopy-height", "county/canopy_height.tif")
    copy.run(*words, "-o", "west")
    whole, west = (copy.json(name, "summary.json")["overlaps"] for name in ("whole", "west"))
    clipped = np.array([g.intersection(half) for g in stands.geometry], dtype=object)
    tree = shapely.STRtree(clipped)
    first, second = tree.query(clipped, predicate="intersects")
    pairs = first < second
    shared = shapely.area(shapely.intersection(clipped[first[pairs]], clipped[second[pairs]]))
    assert west["area_ha"] == pytest.approx(shared.sum() / 1e4, rel=1e-6)
    assert 0.2 * whole["area_ha"] < west["area_ha"] < 0.8 * whole["area_ha"]


def test_densities_that_no_forest_reaches_are_told_of(copy, capsys):
    """Stock laid on the few pixels that a wrong mask leaves."""
    with rasterio.open(copy.path / "county" / "dem.tif") as like:
        profile = {**like.profile, "driver": "GTiff", "dtype": "uint8", "nodata": 0}
        classes = np.ones(like.shape, np.uint8)
    classes[::13, ::13] = 9
    with rasterio.open(copy.path / "few.tif", "w", **profile) as out:
        out.write(classes, 1)
    how = ["--method", "layer", "--layer", "few.tif", "--forest-classes", "9"]
    copy.run("mask", *how, "-o", "few-forest.tif")
    words = ["build-labels", "county/inventory.shp", *FIELDS, "--mask", "few-forest.tif"]
    copy.run(*words, "-o", "crowded")
    assert "more than was ever measured" in capsys.readouterr().out


def test_a_share_is_not_taken_for_a_volume_in_silence(copy, capsys):
    stands = stands_of(copy)
    stands["YU_BI_DU"] = np.linspace(0, 1, len(stands))
    stands.to_file(copy.path / "closed.shp", encoding="GBK")
    copy.run("build-labels", "closed.shp", "--volume-field", "YU_BI_DU", "-o", "closed")
    assert "canopy closure?" in capsys.readouterr().out


def test_stands_left_out_are_named(copy, capsys):
    stands = stands_of(copy)
    stands.loc[3, "HUO_LMGQXJ"] = -9999
    stands.to_file(copy.path / "odd.shp", encoding="GBK")
    copy.run("build-labels", "odd.shp", *FIELDS, "--keep-going", "-o", "odd", code=3)
    assert f"left out: 1 ({stands.loc[3, 'XIAO_BAN']})" in capsys.readouterr().out


def test_volumes_that_few_forests_hold_are_told_of_and_kept(copy, capsys):
    stands = stands_of(copy)
    stands.loc[5, "HUO_LMGQXJ"] = 5000
    stands.to_file(copy.path / "full.gpkg", layer="stands")
    stands.to_file(copy.path / "full.gpkg", layer="more")
    words = ["build-labels", "full.gpkg", "--layer", "more", *FIELDS, "-o", "full"]
    copy.run(*words)
    told = capsys.readouterr().out
    assert "very high volume: 1 (" in told
    assert "5000 m³/ha" in told
    assert copy.json("full", "summary.json")["totals"]["stands"] == len(stands)


def test_stands_outside_the_region_are_not_counted_inside(copy, capsys):
    stands = stands_of(copy)
    stands.loc[[2, 4], "geometry"] = stands.loc[[2, 4], "geometry"].translate(50_000, 0)
    stands.to_file(copy.path / "far.shp", encoding="GBK")
    copy.run("build-labels", "far.shp", *FIELDS, "--group-field", "XIANG", "-o", "far")
    facts, inside = copy.json("far", "summary.json"), len(stands) - 2
    assert facts["totals"]["stands"] == inside
    assert sum(t["stands"] for t in facts["by"]["XIANG"].values()) == inside
    assert f"{inside} stands on" in capsys.readouterr().out


def test_monte_carlo_is_what_the_terminal_tells_where_it_was_asked_for(copy, capsys):
    words = ["build-labels", "county/inventory.shp", *FIELDS, "-o", "drawn"]
    copy.run(*words, "--monte-carlo", "500")
    told, facts = capsys.readouterr().out, copy.json("drawn", "summary.json")["uncertainty"]
    assert "Approach 2, 500 draws" in told
    assert f"± {facts['approach_2']['total']['half_width_percent']:.1f} %" in told


def test_another_profile_is_a_refusal_of_a_few_lines(copy, capsys):
    words = ["build-labels", "county/inventory.shp", *FIELDS, *IPCC]
    copy.run(*words, code=1)
    err = capsys.readouterr().err
    assert "more differences" in err
    assert "profile.name: stock-expansion → ipcc" in err
    assert len(err.splitlines()) < 20


def test_an_input_whose_bytes_changed_is_named_without_its_hash(copy, capsys):
    stands = stands_of(copy)
    stands.iloc[:-1].to_file(copy.path / "county" / "inventory.shp", encoding="GBK")
    copy.run("build-labels", "county/inventory.shp", *FIELDS, code=1)
    assert "inventory.shp: its content changed" in capsys.readouterr().err


def test_a_model_that_sees_canopy_height_says_what_its_errors_are_worth(copy, capsys):
    words = ["train", "--model", "ols", "--dates", "2020-11", *SPLIT, "--labels", "labels"]
    copy.run(*words, "--inputs", "image,canopy-height", "-o", "m")
    assert "warning: canopy-height" in capsys.readouterr().out


def test_a_truth_of_unknown_pools_is_told_of(copy, capsys):
    with rasterio.open(copy.path / "county" / "truth.tif") as source:
        profile, values = source.profile, source.read(1)
    with rasterio.open(copy.path / "other.tif", "w", **profile | {"driver": "GTiff"}) as out:
        out.write(values, 1)
    copy.run("evaluate", "maps", "--truth", "other.tif", "-o", "e")
    assert "does not say which pools" in capsys.readouterr().out
    copy.run("evaluate", "maps", "--truth", "county/truth.tif", "-o", "known")
    assert "warning" not in capsys.readouterr().out
    told = report(copy, "known", "evaluation.json")["maps"][MAP]
    assert told["pools"] == told["truth_pools"] == "trees, understory, floor_and_soil"
