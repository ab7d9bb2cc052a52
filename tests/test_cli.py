"""The command line: the whole chain, what it prints, and how it fails."""

import csv
import json
import os
import tomllib

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from scipy.ndimage import minimum_filter

import carbonmap
from carbonmap import progress
from carbonmap.cli import main
from carbonmap.io.vector import read_stands
from carbonmap.models import regressors
from carbonmap.stages import ingest, mask, setup
from carbonmap.stages.common import Report
from tests.conftest import FIELDS, SIZE, SPLIT, Folder


def density(folder, *parts):
    with rasterio.open(folder.path.joinpath(*parts)) as source:
        return source.read(1)


def uncut(folder, labels):
    """Pixels whose stands, and whose neighbours' stands, lie inside the region whole."""
    stands = read_stands(folder.path / labels / "stands.parquet")
    inside = np.r_[False, stands["inside_share"].to_numpy() == 1]
    return minimum_filter(inside[density(folder, labels, "stand.tif")], 3, mode="constant")


def test_labels_of_a_faultless_inventory_are_the_truth(labelled):
    truth = density(labelled, "county", "truth.tif")
    labels = density(labelled, "labels", "carbon_density.tif")
    here = uncut(labelled, "labels")
    assert here.sum() > 1000
    np.testing.assert_allclose(labels[here], truth[here], rtol=1e-4, atol=0.02)
    names = ("trees", "understory", "floor_and_soil")
    pools = [density(labelled, "labels", f"carbon_density_{name}.tif") for name in names]
    np.testing.assert_allclose(sum(pools), labels, rtol=1e-6)
    np.testing.assert_allclose(pools[0] * 0.195, pools[1], rtol=1e-6)
    np.testing.assert_allclose(pools[0] * 1.244, pools[2], rtol=1e-6)


def test_the_summary_adds_up_and_conserves_mass(labelled):
    summary = labelled.json("labels", "summary.json")
    totals = summary["totals"]
    assert summary["mass_balance"]["relative_difference"] < 1e-6
    pools = [v for k, v in totals["t_c"].items() if k != "total"]
    assert totals["t_c"]["total"] == pytest.approx(sum(pools), rel=1e-12)
    assert totals["t_co2"]["total"] == pytest.approx(totals["t_c"]["total"] * 44 / 12, rel=1e-12)
    whole = totals["t_c"]["total"] + summary["outside_region"]["t_c"]["total"]
    with rasterio.open(labelled.path / "labels" / "carbon_density.tif") as source:
        on_map = np.nansum(source.read(1), dtype=np.float64) * 0.0256
    assert on_map == pytest.approx(totals["t_c"]["total"], rel=1e-6)
    assert whole > on_map
    with (labelled.path / "labels" / "summary.csv").open(encoding="utf-8-sig") as stream:
        first = next(csv.DictReader(stream))
    assert float(first["total_t_c"]) == pytest.approx(totals["t_c"]["total"], rel=1e-4)
    assert any("not a boundary" in note for note in summary["notes"])


def test_a_map_says_what_it_holds(labelled):
    path = labelled.path / "labels" / "carbon_density.tif"
    with rasterio.open(path) as source:
        assert source.units == ("Mg C ha-1",)
        assert source.tags()["CARBONMAP_POOLS"] == "trees, understory, floor_and_soil"
        assert np.isnan(source.nodata)
    assert "Mg C ha-1" in path.with_suffix(".qml").read_text()
    item = json.loads(path.with_suffix(".stac.json").read_text())
    assert item["assets"]["map"]["href"] == "./carbon_density.tif"
    opened = carbonmap.open(path)
    assert opened["carbon_density"].attrs["units"] == "Mg C ha-1"
    assert opened.rio.crs is not None
    plain = xr.open_dataset(path, engine="rasterio")["band_data"].squeeze()
    np.testing.assert_array_equal(plain, opened["carbon_density"])


def test_the_stack_reads_lazily_with_names_and_units(ingested):
    stack = carbonmap.open_stack(ingested.path / "archive", "demo")
    assert stack["image"].dims == ("time", "band", "y", "x")
    assert list(stack["band"].values) == ["blue", "green", "red", "nir"]
    assert stack["elevation"].attrs["units"] == "m"
    assert stack["canopy_height"].chunks is not None
    assert stack["elevation"].shape == (SIZE, SIZE)
    np.testing.assert_array_equal(stack["elevation"], density(ingested, "county", "dem.tif"))
    counts = density(ingested, "county", "image_2020-11-15_red.tif")
    clear = counts != 65535
    red = stack["image"].sel(band="red").isel(time=0).values
    np.testing.assert_allclose(red[clear], counts[clear] * 1e-4, rtol=1e-6)
    assert np.isnan(red[~clear]).all()


def test_a_finished_command_says_up_to_date_and_changes_nothing(labelled, capsys):
    before = labelled.products("labels")
    labelled.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "labels")
    assert "up to date" in capsys.readouterr().out
    assert labelled.products("labels") == before


def test_other_settings_are_refused_with_the_difference(labelled, capsys):
    labelled.run("build-labels", "county/inventory.shp", *FIELDS, "--profile", "ipcc", "--stratum",
                 "temperate-pines", "-o", "labels", code=1)  # fmt: skip
    err = capsys.readouterr().err
    assert "labels.profile: stock-expansion → ipcc" in err
    assert "--overwrite" in err


def test_ingest_twice_is_up_to_date_and_another_file_is_refused(project, capsys):
    project.run("ingest", "dem", "county/dem.tif")
    assert "up to date" in capsys.readouterr().out
    project.run("ingest", "dem", "county/canopy_height.tif", code=1)
    assert "sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build-labels", "gone.shp", *FIELDS], "no such file"),
        (["build-labels", "county/inventory.shp"], "--volume-field"),
        (["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQX"], "HUO_LMGQXJ"),
        (["build-labels", "county/inventory.shp", *FIELDS, "--profile", "stok"], "stock-expansion"),
        (["build-labels", "county/inventory.shp", *FIELDS, "--region", "dem"], "'demo'"),
        (["ingest", "image", "--bands", "red", "--date", "2020-01-01"], "NAME=FILE"),
        (["ingest", "image", "--bands", "red=county/dem.tif", "--date", "2020-13-1"], "YYYY"),
        (["ingest", "canopy-height", "county/truth.tif", "--overwrite"], "can be true"),
        (["mask", "--method", "layer", "--layer", "county/dem.tif"], "--forest-classes"),
        (["mask", "--method", "threshold", "--dates", "2020-11", "--min-ndvi", "2"], "ndvi is 2"),
        (["ingest", "dem", "county/dem.tif", "--scale", "nan"], "scale is nan"),
        (["train", "--dates", "2020-1"], "2020-02-15"),
        (["evaluate", "nowhere", "--truth", "labels"], "nowhere"),
        (["--quiet", "build-labels", "--set", "labels.profil=ipcc"], "labels.profil "),
        (["init", "--region", "new"], "--like"),
        (["run", "gone.toml"], "not there"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_one_message_and_exit_code_1(project, capsys, words, message):
    before = project.products()
    project.run(*words, code=1)
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert project.products() == before


def test_a_wrong_option_is_exit_code_2():
    assert CliRunner().invoke(main, ["predict", "--nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["threshold", "--dates", "2020-11", "--layer", "a.tif"], "--layer"),
        (["threshold", "--dates", "2020-11", "--forest-classes", "41"], "--forest-classes"),
        (["layer", "--layer", "a.tif", "--dates", "2020-11"], "--dates"),
        (["layer", "--layer", "a.tif", "--min-height", "5"], "--min-height"),
        (["layer", "--layer", "a.tif", "--min-ndvi", "0"], "--min-ndvi"),
        (["layer", "--forest-classes", "41"], "--layer"),
    ],
)
def test_a_mask_refuses_options_of_the_other_method(words, option):
    result = CliRunner().invoke(main, ["mask", "--method", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr.splitlines()[-1]


def test_print_config_shows_what_holds_and_needs_no_argument(project):
    code, out, _ = project.call("predict", "--print-config", "--set", "output.threads=7")
    assert code == 0
    assert "threads = 7" in out
    assert 'default_region = "demo"' in out


def shown(folder, capsys, *words):
    """The settings that a command prints."""
    folder.run(*words, "--print-config")
    return tomllib.loads(capsys.readouterr().out)


def test_print_config_shows_what_holds_with_the_options_applied(project, capsys):
    words = ["train", "--model", "svr", "--inputs", "image", "--seed", "0", "--set", "model.seed=7"]
    model = shown(project, capsys, *words)["model"]
    assert (model["kind"], model["inputs"], model["seed"]) == ("svr", ["image"], 0)
    words = ["a.shp", "--group-field", "乡", "--monte-carlo", "0", "--profile", "ipcc"]
    found = shown(project, capsys, "build-labels", *words, "--set", "labels.monte_carlo=500")
    assert found["labels"] == {**found["labels"], "profile": "ipcc", "monte_carlo": 0}
    assert found["inventory"] == {"path": "a.shp", "group_fields": ["乡"], "nodata": []}
    groups = "inventory.group_fields=['XIANG']"
    kept = shown(project, capsys, "build-labels", "--set", groups)["inventory"]
    assert kept["group_fields"] == ["XIANG"]


@pytest.mark.parametrize(
    ("stage", "name", "words"),
    [
        (
            ingest,
            "ingest_image",
            ["ingest", "image", "--bands", "red=a.tif", "--date", "2020-11-15"],
        ),
        (ingest, "ingest_layer", ["ingest", "dem", "a.tif"]),
        (mask, "threshold_mask", ["mask", "--method", "threshold", "--dates", "2020-11"]),
        (
            mask,
            "layer_mask",
            ["mask", "--method", "layer", "--layer", "a", "--forest-classes", "1"],
        ),
    ],
)
def test_the_projects_threads_reach_the_stage(tmp_path, monkeypatch, stage, name, words):
    told = []
    monkeypatch.setattr(stage, name, lambda *_, **how: told.append(how["threads"]) or Report(""))
    Folder(tmp_path).run(*words, "--region", "huize", "--set", "output.threads=3")
    assert told == [3]


def test_the_projects_threads_reach_the_forest(copy, monkeypatch):
    told, fit = [], regressors.fit
    monkeypatch.setattr(
        regressors, "fit", lambda *words: told.append(words[-1]) or fit("ols", *words[1:])
    )
    words = ["train", "--model", "random-forest", "--dates", "2020-11", *SPLIT]
    copy.run(*words, "--labels", "labels", "-o", "m", "--set", "output.threads=3")
    assert told == [3]


def test_print_config_leaves_the_next_commands_arguments_required(project):
    project.run("predict", "--print-config")
    assert CliRunner().invoke(main, ["predict"]).exit_code == 2


@pytest.mark.parametrize("encoding", ["gbk", "cp1252"])
def test_a_console_of_any_encoding_can_be_written_to(project, encoding):
    """Redirected output on Windows has the console's encoding, and not every sign in it."""
    how = {"env": os.environ | {"PYTHONIOENCODING": encoding}, "encoding": encoding}
    code, _, err = project.call("build-labels", "--help", **how)
    assert code == 0, err
    project.run("init", "--region", "会ñ", "--like", "county/dem.tif", "--overwrite")
    words = ["ingest", "dem", "county/dem.tif", "--json"]
    code, out, err = project.call(*words, **how)
    assert code == 0, err
    assert "会ñ" in json.loads(out)["path"]
    words = ["ingest", "dem", "county/dem.tif"]
    code, out, err = project.call(*words, **how)
    assert (code, "up to date" in out) == (0, True), err


def test_json_keeps_its_letters_where_the_stream_is_utf_8(project, capsys):
    project.run("init", "--region", "会泽", "--like", "county/dem.tif", "--overwrite")
    project.run("ingest", "dem", "county/dem.tif", "--json")
    assert "会泽" in capsys.readouterr().out


def test_stands_off_the_region_are_counted_and_their_stock_told(project):
    """Row 16."""
    project.run("init", "--region", "half", "--like", "county/dem.tif", "--overwrite")
    text = (project.path / "carbonmap.toml").read_text()
    start = text.index("bounds = [") + len("bounds = [")
    left, bottom, right, top = (float(v) for v in text[start : text.index("]", start)].split(","))
    middle = (left + right) / 2
    box = [str(v) for v in (left, bottom, middle, top)]
    project.run(
        "init", "--region", "half", "--like", "county/dem.tif", "--bounds", *box, "--overwrite"
    )
    project.run("ingest", "canopy-height", "county/canopy_height.tif")
    project.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "half")
    summary = project.json("half", "summary.json")
    assert summary["flags"]["off_region"] > 0
    assert summary["flags"]["partly_off_region"] > 0
    assert summary["mass_balance"]["relative_difference"] < 1e-6
    whole = summary["totals"]["t_c"]["total"] + summary["outside_region"]["t_c"]["total"]
    project.run("init", "--region", "demo", "--like", "county/dem.tif", "--overwrite")
    project.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "labels")
    other = project.json("labels", "summary.json")
    both = other["totals"]["t_c"]["total"] + other["outside_region"]["t_c"]["total"]
    assert whole == pytest.approx(both, rel=1e-9)
    here = uncut(project, "half") & uncut(project, "labels")[:, : SIZE // 2]
    half = density(project, "half", "carbon_density.tif")
    county = density(project, "labels", "carbon_density.tif")[:, : SIZE // 2]
    assert here.sum() > 100
    np.testing.assert_allclose(half[here], county[here], rtol=1e-6)


def test_a_boundary_limits_the_labels_and_the_totals_no_longer_warn(project):
    import geopandas as gpd
    import shapely

    with rasterio.open(project.path / "county" / "dem.tif") as source:
        left, bottom, right, top = source.bounds
        crs = source.crs.to_wkt()
    outline = shapely.Polygon(
        [(left + 300, bottom + 200), (right - 400, bottom + 900), (left + 900, top - 300)]
    )
    gpd.GeoDataFrame(geometry=[outline], crs=crs).to_file(project.path / "county.gpkg")
    project.run(
        "init",
        "--region",
        "cut",
        "--like",
        "county/dem.tif",
        "--boundary",
        "county.gpkg",
        "--overwrite",
    )
    project.run("ingest", "canopy-height", "county/canopy_height.tif")
    project.run("build-labels", "county/inventory.shp", *FIELDS, "-o", "cut")
    summary = project.json("cut", "summary.json")
    assert not any("not a boundary" in note for note in summary["notes"])
    assert summary["mass_balance"]["relative_difference"] < 1e-6
    assert summary["totals"]["area_ha"] == pytest.approx(outline.area / 1e4, rel=1e-9)
    with rasterio.open(project.path / "cut" / "coverage.tif") as source:
        share = source.read(1)
    assert np.nansum(share) * 0.0256 == pytest.approx(outline.area / 1e4, rel=1e-5)


def recipe(folder, *steps):
    text = "".join(f"[[step]]\nrun = {json.dumps(step)}\n" for step in steps)
    (folder.path / "recipe.toml").write_text(text, "utf-8")


def test_a_recipe_goes_on_after_an_incomplete_step_and_ends_with_3(tmp_path, monkeypatch):
    ran = []

    def init(_folder, name, **_):
        ran.append(name)
        return Report(name, {}, incomplete=name == "first")

    monkeypatch.setattr(setup, "init", init)
    folder = Folder(tmp_path)
    recipe(folder, ["init", "--region", "first"], ["init", "--region", "second"])
    folder.run("run", "recipe.toml", code=3)
    assert ran == ["first", "second"]


def test_quiet_holds_for_every_step_of_a_recipe(tmp_path, capsys):
    folder = Folder(tmp_path)
    recipe(folder, ["simulate", "--size", "16"], ["init", "--region", "huize"])
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            setup, "init", lambda *_, **__: steps.append(progress.shown.get()) or Report("")
        )
        folder.run("--quiet", "run", "recipe.toml")
        assert capsys.readouterr().err == ""
        folder.run("run", "recipe.toml")
    assert "carbonmap init" in capsys.readouterr().err
    assert steps == [False, True]


def test_a_pipeline_goes_on_after_its_project_file_was_edited(tmp_path, capsys):
    folder = Folder(tmp_path)
    recipe(folder, ["init", "--region", "huize"])
    folder.run("run", "recipe.toml")
    path = tmp_path / "carbonmap.toml"
    path.write_text(path.read_text("utf-8") + "# mine\n", "utf-8")
    capsys.readouterr()
    folder.run("run", "recipe.toml")
    assert "since it was edited" in capsys.readouterr().out
    assert path.read_text("utf-8").endswith("# mine\n")
    folder.run("init", "--region", "huize", code=1)


def test_labels_do_not_depend_on_locale_time_zone_or_working_folder(labelled, project):
    environment = os.environ | {"TZ": "Asia/Shanghai", "LC_ALL": "C"}
    code, _, err = project.call(
        "build-labels", "county/inventory.shp", *FIELDS, "-o", "labels", env=environment
    )
    assert code == 0, err
    ours, theirs = project.products("labels"), labelled.products("labels")
    assert ours == theirs
