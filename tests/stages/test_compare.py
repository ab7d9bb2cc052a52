"""`carbonmap compare`: figures against other commands, and what is done once."""

import re
import shutil

import geopandas as gpd
import numpy as np
import pytest
import shapely

from carbonmap import config
from carbonmap.cli import models as cli
from carbonmap.dates import parse_periods
from carbonmap.io import lattice
from carbonmap.lazy import stack_grid
from carbonmap.splits import Role
from carbonmap.stages import timing
from carbonmap.stages.compare import entries, judge, run, table
from carbonmap.stages.job import job_of
from carbonmap.stages.mask import read_forest
from tests.conftest import FIELDS, SPLIT, Folder

DATES = ("--dates", "2020-11")
GAN = [
    *SPLIT, *DATES, "--model", "gan", "--set", "model.network.widths=[4,8]",
    "--set", "model.network.discriminator=[4,8]", "--set", "model.training.batch=2",
    "--set", "model.training.patch_px=32", "--set", "model.training.threads=1",
    "--set", "model.samples=1",
]  # fmt: skip
APART_M = 16
"""By which stands are drawn in: the gaps are wider than a pixel's diagonal, 23 m, so that no pixel
lies in two stands; `evaluate` would leave some of these out."""


@pytest.fixture(scope="module")
def county(ingested, tmp_path_factory):
    """A county of stands that lie apart, with an OLS, a GAN and a comparison. Do not write."""
    path = tmp_path_factory.mktemp("compared") / "project"
    shutil.copytree(ingested.path, path)
    folder = Folder(path)
    stands = gpd.read_file(path / "county" / "inventory.shp", encoding="GBK")
    stands["geometry"] = stands.buffer(-APART_M)
    stands[~stands.is_empty].to_file(path / "apart.gpkg")
    folder.run("build-labels", "apart.gpkg", *FIELDS, "-o", "labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUNDS", 1)
        folder.run("train", *GAN, "--steps", 2, "-o", "models/gan")
        compare(folder, "--models", "ols", "--load", "g|an=models/gan", "--draws", 19)
    return folder


@pytest.fixture
def copy(county, tmp_path):
    shutil.copytree(county.path, tmp_path / "project")
    return Folder(tmp_path / "project")


def compare(folder, *words, code=0):
    folder.run("compare", *SPLIT, *DATES, *words, code=code)


def told(folder, out="comparison"):
    return folder.json(out, "comparison.json")["report"]


def minutes_of(folder):
    """Of the GAN's steps, by its card."""
    return folder.json("models/gan", "model.json")["report"]["training_minutes"]


def held_out(folder):
    """Role and density of every usable pixel, from the labels' own rasters."""
    grid = stack_grid(folder.path / "archive", "demo")
    density, share, stand = (
        lattice.read_on_grid(folder.path / "labels" / f"{name}.tif", grid)
        for name in ("carbon_density", "coverage", "stand")
    )
    stands = gpd.read_parquet(folder.path / "comparison" / "models" / "ols" / "split.parquet")
    roles = np.array([0, *(Role[r.upper()] for r in stands["role"])])
    sound = (np.nan_to_num(share) >= 0.9) & np.isfinite(density)
    return np.where(sound, roles[np.nan_to_num(stand).astype(int)], 0), density


def test_the_figures_of_a_model_are_those_of_predict_and_evaluate(copy):
    model = "comparison/models/ols"
    copy.run("predict", *DATES, "--model", model, "-o", "maps")
    copy.run("evaluate", "maps", "--truth", "labels", "-o", "evaluation")
    (found,) = copy.json("evaluation", "evaluation.json")["report"]["maps"].values()
    mine = told(copy)["models"]["ols"]["judged"]
    assert mine["one"]["ssim_pixels"] > 50
    for name, value in found["validation"].items():
        assert mine["one"][name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
        assert mine["mean"][name] == mine["one"][name]
    assert not mine["generative"]
    assert "ensemble" not in mine


def test_the_baseline_is_the_mean_of_the_training_labels_on_held_out_land(county):
    role, density = held_out(county)
    mean = density[role == Role.TRAIN].mean(dtype=np.float64)
    truth = density[role == Role.VALIDATION].astype(np.float64)
    report = told(county)
    assert report["training_labels"]["mean_mg_c_ha"] == pytest.approx(mean, rel=1e-6)
    assert report["pixels"] == report["baseline"]["pixels"] == truth.size
    assert report["baseline"]["mae_mg_c_ha"] == pytest.approx(np.abs(truth - mean).mean(), rel=1e-6)
    r2 = 1 - ((truth - mean) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert report["baseline"]["r2"] == pytest.approx(r2, rel=1e-6)


def test_draws_and_means_of_draws_stand_in_rows_of_their_own(county):
    page = (county.path / "comparison" / "comparison.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| g\\|an")]
    assert rows[:2] == ["one draw", "mean of 8 draws"]
    judged = told(county)["models"]["g|an"]["judged"]
    assert (judged["mean_of"], judged["ensemble"]["members"]) == (8, 19)
    assert judged["one"]["rmse_mg_c_ha"] != judged["mean"]["rmse_mg_c_ha"]


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head(county):
    page = (county.path / "comparison" / "comparison.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    assert len(tables) == 4
    for one in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in one.splitlines()}
        assert len(cells) == 1
    assert not re.search(r"\bnan\b|None", page)
    sizes = told(county)["models"]
    assert sizes["ols"]["parameters"] is None
    assert sizes["g|an"]["parameters"] > 0
    assert sizes["ols"]["training_min"] > 0
    assert sizes["g|an"]["training_min"] == minutes_of(county)
    for one, kind in (("ols", "skops"), ("g|an", "safetensors")):
        where = "comparison/models/ols" if one == "ols" else "models/gan"
        (weights,) = (county.path / where).glob(f"*.{kind}")
        assert sizes[one]["bytes"] == weights.stat().st_size


def test_a_finished_comparison_is_up_to_date_and_another_one_refused(copy, capsys):
    before = copy.products("comparison")
    words = ("--models", "ols", "--load", "g|an=models/gan")
    compare(copy, *words, "--draws", 19)
    assert copy.products("comparison") == before
    capsys.readouterr()
    compare(copy, *words, "--draws", 8, code=1)
    assert copy.products("comparison") == before
    assert "draws: 19 → 8" in capsys.readouterr().err


def test_fewer_draws_than_an_interval_needs_leave_it_out_and_training_is_not_repeated(copy):
    before = told(copy)["models"]["ols"]["training_min"]
    model = (copy.path / "comparison/models/ols/model.json").read_bytes()
    words = ("--models", "ols", "--load", "g|an=models/gan", "--draws", 8, "--overwrite")
    compare(copy, *words)
    report = told(copy)
    assert report["models"]["g|an"]["judged"]["ensemble"]["coverage_90"] is None
    assert "Coverage by rank is left out" in table.markdown(report)
    assert report["models"]["ols"]["training_min"] == before
    assert (copy.path / "comparison/models/ols/model.json").read_bytes() == model


def test_a_comparison_that_was_stopped_judges_only_what_is_left(copy, monkeypatch):
    whole, asked = told(copy)["models"]["ols"]["judged"], []
    judged = judge.judge

    def failing(name, *rest):
        asked.append(name)
        if name == "g|an" and asked.count(name) == 1:
            raise KeyboardInterrupt
        return judged(name, *rest)

    monkeypatch.setattr(run, "judge", failing)
    words = ("--models", "ols", "--load", "g|an=models/gan", "--draws", 19, "-o", "again")
    compare(copy, *words, code=130)
    assert not (copy.path / "again" / "comparison.json").exists()
    compare(copy, *words)
    assert asked == ["ols", "g|an", "g|an"]
    assert told(copy, "again")["models"]["ols"]["judged"] == whole
    assert told(copy, "again")["models"]["ols"]["training_min"] > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--models", "ols", "--draws", "7"], r"7 draws are too few.*8"),
        (["--models", "ols", "--draws", "257"], r"257 draws are too many.*256"),
        (["--models", "olss"], r"'olss' is not known.*ols"),
        (["--models", "ols:tiny"], r"no presets; say 'ols'"),
        (["--models", "ols,unet:tyni"], r"no preset 'tyni'"),
        (["--models", "ols,ols"], r"two models.*'ols'"),
        (["--models", ""], r"nothing to compare"),
        (["--models", "ols", "--set", "model.network.widths=[4]"], r"none of the models.*heeds"),
        (["--models", "unet", "--device", "gpu"], r"'gpu' is not known"),
        (["--models", "unett", "--steps", "9"], r"'unett' is not known"),
        (["--models", "", "--load", "x=models/gan", "--set", "model.split.seed=1"],
         r"another split"),
        (["--models", "", "--load", "x=models/none"], r"model 'models/none' is not there"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(county, capsys, words, says):
    compare(county, *words, "-o", "refused", code=1)
    assert re.search(says, capsys.readouterr().err)
    assert not (county.path / "refused").exists()


ONLY_LOADED = ("--models", "", "--load", "x=models/gan")
LOADED_OR_NOT_A_NETWORK = ("--models", "ols", "--load", "x=models/gan")


@pytest.mark.parametrize(
    ("words", "option", "models"),
    [
        (("--models", "ols,svr"), ("--device", "cuda"), "ols, svr"),
        (("--models", "unet:tiny,iidm:small"), ("--preset", "tiny"), "unet:tiny, iidm:small"),
        (("--models", "ols,iidm:small"), ("--preset", "tiny"), "ols, iidm:small"),
        (ONLY_LOADED, ("--inputs", "image"), r"x \(trained already\)"),
        *(
            (words, option, models)
            for words, models in (
                (("--models", "ols"), "ols"),
                (ONLY_LOADED, r"x \(trained already\)"),
                (LOADED_OR_NOT_A_NETWORK, r"ols, x \(trained already\)"),
            )
            for option in (("--preset", "tiny"), ("--steps", "2"), ("--minutes", "1"))
        ),
    ],
)
def test_an_option_that_no_model_heeds_is_refused_by_name(county, capsys, words, option, models):
    compare(county, *words, *option, "-o", "refused", code=1)
    says = rf"{option[0]} says nothing to {models}; leave it out"
    assert re.search(says, capsys.readouterr().err)
    assert not (county.path / "refused").exists()


@pytest.mark.parametrize(
    ("names", "loaded", "option"),
    [
        (["ols"], ["x"], ["--device", "cuda"]),
        ([], ["x"], ["--device", "cuda"]),
        (["ols"], [], ["--inputs", "image"]),
        (["ols", "unet"], [], ["--steps", "2"]),
        (["unet", "iidm:tiny"], [], ["--preset", "tiny"]),
        ([], [], ["--steps", "2"]),  # nothing to compare is said elsewhere
    ],
)
def test_an_option_that_one_model_heeds_is_accepted(names, loaded, option):
    with cli.compare.make_context("compare", ["--dates", "2020-11", *option]):
        cli.refuse_unheeded(names, loaded)


def test_a_model_of_other_labels_is_refused(copy, capsys):
    copy.run("build-labels", "apart.gpkg", *FIELDS, "-o", "other", "--set",
             "labels.volume_uncertainty_percent=10")  # fmt: skip
    compare(copy, "--models", "", "--load", "x=models/gan", "--labels", "other", "-o", "c", code=1)
    assert "another labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("card", "minutes"),
    [
        ({"kind": "gan", "training_minutes": 3.5}, 3.5),
        ({"kind": "gan"}, None),  # of a carbonmap before it was told
        ({"kind": "ols"}, 1.0),
    ],
)
def test_a_networks_minutes_are_its_cards_and_a_regressors_measured_around_it(card, minutes):
    assert run._minutes(card, 1.0) == minutes


def test_another_kind_of_device_is_another_comparison_where_there_are_networks(
    copy, capsys, monkeypatch
):
    before = copy.products("comparison")
    words = ("--models", "ols", "--load", "g|an=models/gan", "--draws", 19)
    monkeypatch.setattr(run, "_device", lambda _: "cuda:1")
    compare(copy, *words, code=1)
    assert "device: cpu → cuda" in capsys.readouterr().err
    assert copy.products("comparison") == before


def test_of_regressors_alone_the_device_says_nothing(copy, monkeypatch):
    compare(copy, "--models", "ols", "-o", "alone")
    before = copy.products("alone")
    monkeypatch.setattr(run, "_device", lambda _: "cuda:1")
    compare(copy, "--models", "ols", "-o", "alone")
    assert copy.products("alone") == before


def test_a_mask_leaves_land_out(copy):
    copy.run("mask", "--method", "threshold", *DATES, "-o", "forest.tif")
    compare(copy, "--models", "ols", "--mask", "forest.tif", "-o", "masked")
    role, _ = held_out(copy)
    forest = read_forest(copy.path / "forest.tif", stack_grid(copy.path / "archive", "demo"))
    want = int(((role == Role.VALIDATION) & forest).sum())
    assert told(copy, "masked")["pixels"] == want < told(copy)["pixels"]
    assert "in the forest alone" in table.markdown(told(copy, "masked"))


def test_settings_of_a_network_go_to_the_family_that_they_are_of(county, monkeypatch):
    monkeypatch.setattr(entries, "_require_possible", lambda _: None)

    def widths(kind):
        given = [f"model.kind='{kind}'", "model.network.widths=[4,8]"]
        project = config.load(county.path / "carbonmap.toml", given)
        found = entries.entries(project, ["unet", "iidm", "iidm-residual"], [], county.path)
        return [bool(e.project.model.network) for e in found]

    assert widths("unet") == [True, False, False]
    assert widths("ols") == widths("iidm") == [False, True, True]


def test_every_pixel_has_the_split_block_of_its_stand(county):
    project = config.load(county.path / "carbonmap.toml", SPLIT[1::2])
    grid = stack_grid(county.path / "archive", "demo")
    job = job_of(project, "demo", grid, parse_periods("2020-11"), county.path / "labels")
    found = judge.ground_of(job).split_blocks(grid)
    stand = np.nan_to_num(lattice.read_on_grid(county.path / "labels" / "stand.tif", grid))
    np.testing.assert_array_equal(found == -1, stand == 0)
    outlines = gpd.read_parquet(county.path / "labels" / "stands.parquet").geometry
    points = shapely.point_on_surface(np.array(outlines.array, dtype=object))
    x, y = grid.anchor
    pairs = {
        (int(block), np.floor((y - points[row].y) / 500), np.floor((points[row].x - x) / 500))
        for block, row in {*zip(found[stand > 0], stand[stand > 0].astype(int) - 1, strict=True)}
    }
    assert len(pairs) == len({b for b, *_ in pairs}) == len({tuple(p) for _, *p in pairs}) > 9
