"""From labels to an evaluated map, on a county whose carbon is known."""

import json
import shutil

import numpy as np
import pytest
import rasterio

from carbonmap import checkpoint
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.splits import Role
from carbonmap.stages import common, scope
from tests.conftest import FIELDS, MAP, SIZE, SPLIT, Folder


def read(folder, *parts):
    with rasterio.open(folder.path.joinpath(*parts)) as source:
        return source.read(1)


def test_a_map_is_the_models_answer_at_every_pixel(mapped):
    stack = open_stack(mapped.path / "archive", "demo")
    grid = stack_grid(mapped.path / "archive", "demo")
    model = checkpoint.load(mapped.path / "models" / "ols").model
    layers = scope.read_layers(stack, grid, grid, model.layers, model.halo)
    np.testing.assert_array_equal(read(mapped, "maps", MAP), model.predict(layers, grid))


@pytest.mark.parametrize("size", [32, 57])
def test_tiles_do_not_change_a_map(copy, mapped, monkeypatch, size):
    monkeypatch.setattr(common, "TILE_PX", size)
    copy.run("predict", "--dates", "2020-11", "--model", "models/ols", "-o", "tiled")
    np.testing.assert_array_equal(read(copy, "tiled", MAP), read(mapped, "maps", MAP))


def test_clouds_are_holes_in_the_map_and_nothing_else_is(mapped):
    cloud = read(mapped, "county", "image_2020-11-15_red.tif") == 65535
    np.testing.assert_array_equal(np.isnan(read(mapped, "maps", MAP)), cloud)


def test_a_map_tells_its_model_date_and_pools(mapped):
    with rasterio.open(mapped.path / "maps" / MAP) as source:
        tags = source.tags()
    assert tags["CARBONMAP_DATE"] == "2020-11"
    assert tags["CARBONMAP_POOLS"] == "trees, understory, floor_and_soil"
    assert tags["CARBONMAP_MODEL"] == "ols"
    told = mapped.json("maps", MAP.replace(".tif", ".json"))["report"]
    density = read(mapped, "maps", MAP)
    assert told["t_c"] == pytest.approx(np.nansum(density, dtype=float) * 0.0256, rel=1e-9)
    assert "not of a boundary" in told["note"]
    assert (mapped.path / "maps" / MAP.replace(".tif", ".qml")).is_file()
    item = mapped.json("maps", MAP.replace(".tif", ".stac.json"))
    assert item["properties"]["start_datetime"] == "2020-11-01T00:00:00Z"


def test_the_evaluation_is_what_the_arrays_say(mapped):
    """Roles by hand: the role of a pixel's stand, where no stand of another role shares it."""
    from carbonmap.io.vector import read_stands

    told = mapped.json("evaluation", "evaluation.json")["report"]["maps"][MAP]
    split = read_stands(mapped.path / "models" / "ols" / "split.parquet")
    roles = np.array([0, *(Role[r.upper()] for r in split["role"])])
    stand = read(mapped, "labels", "stand.tif")
    share = read(mapped, "labels", "coverage.tif")
    truth, estimate = read(mapped, "labels", "carbon_density.tif"), read(mapped, "maps", MAP)
    usable = (np.nan_to_num(share) >= 0.9) & np.isfinite(truth) & np.isfinite(estimate)
    error = (estimate - truth)[usable & (roles[stand] == Role.VALIDATION)].astype(float)
    assert told["validation"]["pixels"] == pytest.approx(len(error), rel=0.1)
    rmse = float(np.sqrt(np.mean(error**2)))
    assert told["validation"]["rmse_mg_c_ha"] == pytest.approx(rmse, rel=0.1)
    assert told["held_out"] == told["validation"]
    known = [told[r]["pixels"] for r in ("validation", "train", "buffer")]
    assert sum(known) == usable.sum()
    assert 0 < told["train"]["rmse_mg_c_ha"] < truth[usable].std() * 1.2
    assert told["train"]["psnr_db"] == pytest.approx(
        20 * np.log10(1 / told["train"]["rmse_01"]), rel=1e-9
    )
    assert (mapped.path / "evaluation" / MAP.replace(".tif", ".png")).stat().st_size > 10_000


def test_a_map_equal_to_its_truth_has_no_error(mapped, copy, capsys):
    """The truth evaluated against itself, by way of a model that only tells the split."""
    told = copy.path / "maps" / MAP.replace(".tif", ".json")
    sidecar = json.loads(told.read_text(encoding="utf-8"))
    shutil.copy(copy.path / "labels" / "carbon_density.tif", copy.path / "maps" / MAP)
    from carbonmap.io import files

    sidecar["files"] = {MAP: files.describe(copy.path / "maps" / MAP)}
    told.write_text(json.dumps(sidecar))
    copy.run("evaluate", "maps", "--truth", "labels", "--json", "-o", "perfect")
    found = json.loads(capsys.readouterr().out)["maps"][MAP]["held_out"]
    assert found["rmse_mg_c_ha"] == 0
    assert found["ssim"] == pytest.approx(1, abs=1e-12)
    assert found["psnr_db"] is None
    assert mapped.json("evaluation", "evaluation.json")["report"]["maps"][MAP]["held_out"] != found


def test_a_mask_leaves_land_out_everywhere(copy):
    copy.run("mask", "--method", "threshold", "--dates", "2020-11", "-o", "forest.tif")
    forest = read(copy, "forest.tif")
    height = read(copy, "county", "canopy_height.tif")
    known = forest != 127
    assert set(np.unique(forest)) <= {0, 127, 255}
    assert (height[forest == 255] >= 5).all()
    assert 0.2 < (forest[known] == 255).mean() < 0.95
    copy.run(
        "predict", "--dates", "2020-11", "--model", "models/ols", "--mask", "forest.tif", "-o", "m"
    )
    inside = np.where(forest == 255, read(copy, "maps", MAP), np.nan)
    np.testing.assert_array_equal(read(copy, "m", MAP), inside)
    copy.run("evaluate", "m", "--truth", "labels", "--mask", "forest.tif", "-o", "e")
    told = copy.json("e", "evaluation.json")["report"]["maps"][MAP]
    assert (
        sum(told[r]["pixels"] for r in ("validation", "train", "buffer")) <= (forest == 255).sum()
    )
    copy.run("build-labels", "county/inventory.shp", *FIELDS, "--mask", "forest.tif", "-o", "l")
    assert copy.json("l", "summary.json")["mass_balance"]["relative_difference"] < 1e-6
    masked, plain = (
        read(copy, "l", "carbon_density.tif"),
        read(copy, "labels", "carbon_density.tif"),
    )
    assert np.nansum(masked[forest == 0]) < 0.5 * np.nansum(plain[forest == 0])
    copy.run(
        "train",
        "--model",
        "ols",
        "--dates",
        "2020-11",
        *SPLIT,
        "--mask",
        "forest.tif",
        "-o",
        "models/m",
    )


def test_a_class_raster_makes_a_mask(copy):
    classes = np.random.default_rng(0).choice(np.array([0, 11, 41, 42], np.uint8), (SIZE, SIZE))
    with rasterio.open(copy.path / "county" / "dem.tif") as like:
        profile = {**like.profile, "dtype": "uint8", "nodata": 0}
    with rasterio.open(copy.path / "nlcd.tif", "w", **profile) as out:
        out.write(classes, 1)
    copy.run(
        "mask",
        "--method",
        "layer",
        "--layer",
        "nlcd.tif",
        "--forest-classes",
        "41,42",
        "-o",
        "f.tif",
    )
    expected = np.select([classes == 0, classes > 40], [127, 255], 0)
    np.testing.assert_array_equal(read(copy, "f.tif"), expected)


def test_a_raster_that_is_no_mask_is_refused(copy, capsys):
    copy.run(
        "predict",
        "--dates",
        "2020-11",
        "--model",
        "models/ols",
        "--mask",
        "maps/" + MAP,
        "-o",
        "m",
        code=1,
    )
    assert "not a forest mask" in capsys.readouterr().err
    assert not (copy.path / "m").exists() or not list((copy.path / "m").glob("*.tif"))


def test_a_model_that_moved_is_asked_for_and_found(copy, capsys):
    shutil.rmtree(copy.path / "evaluation")
    told = copy.path / "maps" / MAP.replace(".tif", ".json")
    sidecar = json.loads(told.read_text(encoding="utf-8"))
    sidecar["report"]["model_folder"] = "elsewhere"
    told.write_text(json.dumps(sidecar))
    copy.run("evaluate", "maps", "--truth", "labels", code=1)
    assert "--model" in capsys.readouterr().err
    copy.run("evaluate", "maps", "--truth", "labels", "--model", "models/ols")


def test_training_twice_gives_the_same_model(copy, mapped):
    copy.run("train", "--model", "ols", "--dates", "2020-11", *SPLIT, "-o", "again")
    assert copy.products("again") == mapped.products("models", "ols")


@pytest.mark.parametrize("kind", ["random-forest", "svr", "gradient-boosting"])
def test_every_kind_trains_and_maps(copy, kind):
    copy.run("train", "--model", kind, "--dates", "2020-11", *SPLIT, "-o", f"models/{kind}")
    copy.run("predict", "--dates", "2020-11", "--model", f"models/{kind}", "-o", kind)
    density = read(copy, kind, MAP)
    np.testing.assert_array_equal(np.isnan(density), np.isnan(read(copy, "maps", MAP)))
    assert np.nanmin(density) >= 0


def test_canopy_height_joins_by_name_and_helps(copy, mapped):
    inputs = ["--inputs", "image,terrain,canopy-height"]
    copy.run(
        "train", "--model", "ols", *inputs, "--dates", "2020-11", *SPLIT, "-o", "models/canopy"
    )
    with_height = copy.json("models", "canopy", "model.json")["report"]
    without = mapped.json("models", "ols", "model.json")["report"]
    assert "canopy_height" in with_height["layers"]
    assert with_height["validation"]["rmse_mg_c_ha"] < without["validation"]["rmse_mg_c_ha"]


RECIPE = """
[[step]]
run = ["simulate", "county", "--size", "64"]
[[step]]
run = ["init", "--region", "tiny", "--like", "county/dem.tif"]
[[step]]
run = ["ingest", "canopy-height", "county/canopy_height.tif"]
[[step]]
run = ["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ", "-o", "labels"]
"""


def test_a_recipe_runs_once_and_again_only_what_changed(tmp_path, capsys):
    folder = Folder(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    folder.run("run", "recipe.toml")
    before = folder.products()
    capsys.readouterr()
    folder.run("run", "recipe.toml")
    assert capsys.readouterr().out.count("up to date") == 4
    assert folder.products() == before
    changed = RECIPE.replace('"-o", "labels"', '"--monte-carlo", "500", "-o", "labels"')
    (tmp_path / "recipe.toml").write_text(changed)
    folder.run("run", "recipe.toml")
    assert capsys.readouterr().out.count("up to date") == 3
    assert "approach_2" in folder.json("labels", "summary.json")["uncertainty"]


def test_a_recipe_stops_at_the_first_step_that_fails(tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text(
        '[[step]]\nrun = ["ingest", "dem", "gone.tif"]\n' + RECIPE
    )
    Folder(tmp_path).run("run", "recipe.toml", code=1)
    assert "no region" in capsys.readouterr().err
    assert not (tmp_path / "county").exists()
