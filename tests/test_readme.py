"""The README's promises, run."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio

import carbonmap
from carbonmap.landscape import County, clouds, county_grid, reflectance, shadows
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.county import HUIZE
from carbonmap.landscape.product import lean_of
from tests.conftest import Folder

ROOT = Path(__file__).parents[1]
DATA = ROOT / "../shared/data/zion"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = "zion_2015-08_carbon_density.tif"

JSON = MAP.replace(".tif", ".json")

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the data of ../shared are not beside the project"
)


def commands(section="## Your own data"):
    """The shell lines of a section."""
    block = re.search(rf"{section}.*?```sh\n(.*?)```", README, re.DOTALL)[1]
    return [shlex.split(line) for line in block.splitlines() if line.strip()]


def test_the_readmes_commands_are_the_contract():
    assert [words[:2] for words in commands()] == [
        ["carbonmap", name]
        for name in (
            "init", "ingest", "ingest", "ingest", "build-labels", "train", "predict", "evaluate",
            "totals",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "section", ["### Networks", "#### A smaller network", "### Totals that", "### Change"]
)
def test_the_commands_on_networks_can_be_given(section, tmp_path):
    """Only read, not run: they take an hour."""
    found = commands(section)
    assert found
    for words in found:
        Folder(tmp_path).run(*words[1:], "--print-config")


def run(folder, count, replace=()):
    """The first `count` commands of the README in a folder."""
    for words in commands()[:count]:
        told = [w.replace("DATA/", f"{DATA.resolve()}/") for w in words[1:]]
        for old, new in replace:
            told = [new if w == old else w for w in told]
        folder.run(*told)


@needs_data
def test_the_readme_maps_real_land(tmp_path, capsys, monkeypatch):
    """Word for word, but for the model: ordinary least squares learns in a second."""
    folder = Folder(tmp_path)
    run(folder, 7, [("random-forest", "ols")])
    capsys.readouterr()
    evaluate(folder)
    told = json.loads(capsys.readouterr().out)["maps"][MAP]
    assert told["held_out"]["rmse_mg_c_ha"] < 28  # a mean of the labels is off by 56
    folder.run(*commands()[-1][1:])
    whole = folder.json("totals", "totals.json")["report"]["areas"][0]["pools"]["total"]
    assert whole["t_c"] == pytest.approx(folder.json("maps", JSON)["report"]["t_c"])
    assert 0.02 < whole["half_t_c"]["model"] / whole["t_c"] < 0.1
    words = ["train", "--model", "ols", "--region", "zion", "--dates", "2015-08"]
    folder.run(*words, "--labels", "labels", "-o", "alone", "--set", "model.radii=[]")
    alone, seen = (
        folder.json(*parts, "model.json")["report"]["validation"]["rmse_mg_c_ha"]
        for parts in (["alone"], ["models", "rf"])
    )
    assert seen < 0.95 * alone  # the land around a pixel tells of the pixel
    summary = folder.json("labels", "summary.json")
    assert summary["stands"] == 2232
    assert summary["mass_balance"]["relative_difference"] < 1e-6
    grid_like = rasterio.open(DATA / "landsat_b4.tif")
    with rasterio.open(tmp_path / "maps" / MAP) as made:
        assert (made.shape, made.transform) == (grid_like.shape, grid_like.transform)
        assert made.crs.to_epsg() == 32612
    grid_like.close()
    density = carbonmap.open(tmp_path / "maps" / MAP)["carbon_density"]
    assert float(density.min()) >= 0
    monkeypatch.chdir(tmp_path)
    notebook, names = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], {}
    exec(notebook, names)
    assert names["green"].equals(density.isel(time=0, drop=True).where(names["nir"] > 0))
    assert int(names["green"].notnull().sum()) > 1_000_000


def evaluate(folder):
    (words,) = (w for w in commands() if w[1] == "evaluate")
    folder.run(*words[1:])


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random-forest", "gradient-boosting", "svr"])
def test_every_model_beats_the_mean_on_real_land(tmp_path, capsys, kind):
    folder = Folder(tmp_path)
    run(folder, 7, [("random-forest", kind)])
    capsys.readouterr()
    evaluate(folder)
    told = json.loads(capsys.readouterr().out)["maps"][MAP]["held_out"]
    print(kind, {k: v for k, v in told.items() if k.endswith("mg_c_ha")})
    assert told["rmse_mg_c_ha"] < 28  # pixels alone reach 27 (the issue's own figure)


@needs_data
def test_stock_of_real_stands_is_the_method_by_hand(tmp_path):
    """2.439 · 1.90 · 0.5 · 0.5 · V_ha · A, with areas measured on the ellipsoid."""
    import geopandas as gpd

    folder = Folder(tmp_path)
    run(folder, 5)
    stands = gpd.read_file(DATA / "inventory_west.shp", encoding="GBK")
    made = gpd.read_parquet(tmp_path / "labels" / "stands.parquet")
    assert list(made["id"]) == list(stands["XIAO_BAN"])
    area = stands.to_crs("+proj=laea +lat_0=37.3 +lon_0=-113.1 +datum=WGS84").area / 1e4
    expected = 2.439 * 1.90 * 0.5 * 0.5 * stands["HUO_LMGQXJ"] * area
    # straight edges of another projection: on the longest ones 3 millionths of the area
    np.testing.assert_allclose(made["total_t_c"], expected, rtol=1e-5)
    np.testing.assert_allclose(area / stands["MIAN_JI"], 1, atol=3e-4)


def test_the_readme_makes_images_of_gf1_products(tmp_path):
    """Word for word; what comes out is the county's own reflectance, to a hundredth or so."""
    folder = Folder(tmp_path)
    for words in commands("### From GF-1 WFV products"):
        assert words[0] == "carbonmap"
        folder.run(*words[1:])
    stack = carbonmap.open_stack(tmp_path / "archive", "county")
    assert [str(t)[:10] for t in stack["time"].values] == ["2020-02-15", "2020-11-15"]
    grid = county_grid(512, 512)
    for month in ("2020-02", "2020-11"):
        image = stack["image"].sel(time=f"{month}-15").values
        truth = reflectance(grid, County(), month)
        lean = lean_of(camera_over(*HUIZE, "WFV3", 800, 800), grid)
        clear = np.isfinite(image).all(axis=0) & ~clouds(grid, County(), month, lean)
        clear &= ~shadows(grid, County(), month)
        assert clear.mean() > 0.8
        for band, most in zip(truth, (0.02, 0.02, 0.02, 0.06), strict=True):
            off = image[list(truth).index(band)][clear] - truth[band][clear]
            assert np.sqrt(np.mean(off**2)) < most, (month, band)
    script = runpy.run_path(str(ROOT / "examples/draw_scene.py"))
    product = next((tmp_path / "county/gf1").glob("GF1_*"))
    script["main"](product, tmp_path / "archive", "county", tmp_path / "scene.png")
    assert (tmp_path / "scene.png").stat().st_size > 10_000
