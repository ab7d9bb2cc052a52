"""`carbonmap compare`: figures against closed forms and other commands, and what is done once."""

import json
import math
import re
import shutil
import tracemalloc

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from carbonmap import config, fields
from carbonmap.classes import Dummy
from carbonmap.cli import models as cli
from carbonmap.dates import parse_periods
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, lattice
from carbonmap.lazy import stack_grid
from carbonmap.splits import Role, SplitSpec, assign_blocks
from carbonmap.stages import timing
from carbonmap.stages.compare import entries, facts, judge, run, table
from carbonmap.stages.job import job_of
from carbonmap.stages.mask import read_forest
from carbonmap.tiles import Tile
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


# closed forms, on land whose truth and models are drawn from fields of noise

GRID = Grid("EPSG:32612", 10.0, 37, 113, 300, 260)
SIGMA = 20.0


def mean_at(grid):
    """What can be known of a place, Mg C/ha."""
    rows, cols = fields.places(grid)
    return 100 + 30 * np.sin(rows / 40) + 30 * np.cos(cols / 50)


def drawn_at(grid, key):
    return mean_at(grid) + SIGMA * fields.normal(*fields.places(grid), key)


STAND_PX = (35, 45)
"""Height and width of a stand: no divisor of a block's, so that many lie in two blocks or four."""

STANDS = np.array([
    shapely.box(*GRID[top : top + STAND_PX[0], left : left + STAND_PX[1]].bounds)
    for top in range(0, GRID.height, STAND_PX[0])
    for left in range(0, GRID.width, STAND_PX[1])
])  # fmt: skip


class Land:
    """Labels of exactly the distribution that the model below draws from, half of them held out."""

    grid = GRID

    def stands(self, grid):
        rows, cols = fields.places(grid)
        inside = (rows >= 37) & (rows < 337) & (cols >= 113) & (cols < 373)
        down, right = (rows - 37) // STAND_PX[0], (cols - 113) // STAND_PX[1]
        return np.where(inside, down * -(-GRID.width // STAND_PX[1]) + right, -1)

    def candidates(self, tile, role):
        stand = self.stands(tile.grid)
        mine = (stand >= 0) & (stand % 2 == 0) & (role is Role.VALIDATION)
        return mine, drawn_at(tile.grid, 0).astype(np.float32)


class Perfect:
    """A perfect sampler, or one whose draws are `wide` times too wide."""

    layers, halo, pixel_m, scale, generative = (), 0, 10.0, 400.0, True

    def __init__(self, wide=1.0):
        self.wide = wide

    def draws(self, _layers, grid, count, _wanted=None):
        mean = mean_at(grid)
        many = np.stack([drawn_at(grid, k) for k in range(1, count + 1)])
        return (mean + self.wide * (many - mean)).astype(np.float32)

    def predict(self, layers, grid):
        return self.draws(layers, grid, 8).mean(0)


class Blind(Perfect):
    """A model whose layers are known nowhere."""

    def draws(self, _layers, grid, count, _wanted=None):
        return np.full((count, *grid.shape), np.nan, np.float32)


def ground(images=1, split_m=500.0, dummy=80.0):
    stack = xr.Dataset(coords={"y": np.arange(300), "x": np.arange(260)})
    blocks = assign_blocks(STANDS, SplitSpec(block_m=split_m), GRID.anchor)
    return judge.Ground(Land(), [stack] * images, 400.0, blocks, Dummy(1, dummy))


def judged(model=None, draws=32, **more):
    verdict = judge.judge("it", model or Perfect(), ground(**more), draws)
    return files.plain(facts.to_json(verdict, 400.0)), verdict


def test_a_perfect_samplers_figures_are_the_closed_forms():
    found, _ = judged()
    pixels = found["one"]["pixels"]
    sure = 4 / math.sqrt(2 * pixels)  # four standard errors of an RMSE, relative
    one, few = found["one"]["rmse_mg_c_ha"], found["mean"]["rmse_mg_c_ha"]
    assert one == pytest.approx(SIGMA * math.sqrt(2), rel=sure)
    assert few == pytest.approx(SIGMA * math.sqrt(1 + 1 / 8), rel=sure)
    assert found["ensemble"]["mean"]["rmse_mg_c_ha"] == pytest.approx(
        SIGMA * math.sqrt(1 + 1 / 32), rel=sure
    )
    # CRPS of a normal: σ / √π, and of K draws E|x − y| more by σ / (K √π)
    crps = SIGMA / math.sqrt(math.pi) * (1 + 1 / 32)
    assert found["ensemble"]["crps_mg_c_ha"] == pytest.approx(crps, rel=0.02)
    assert found["ensemble"]["coverage_90"] == pytest.approx(0.9, abs=0.006)
    assert found["ensemble"]["spread_skill"] == pytest.approx(1, abs=0.02)
    held = found["interval"]
    assert held["coverage"] == pytest.approx(0.9, abs=0.006)
    assert held["effective_pixels"] > 1000
    assert held["k"] == pytest.approx([1.7, 1.7], abs=0.05)  # t with 31 degrees, × √(1 + 1/32)
    assert found["one"]["rmse_bootstrap"]["value"] == pytest.approx(one, rel=1e-9)
    assert found["mean"]["rmse_bootstrap"]["value"] == pytest.approx(few, rel=1e-6)


def test_draws_too_wide_are_found_out_and_k_mends_their_intervals():
    found, _ = judged(Perfect(2.0))
    assert found["ensemble"]["coverage_90"] > 0.98
    assert found["ensemble"]["spread_skill"] == pytest.approx(
        2 * math.sqrt((1 + 1 / 32) / (1 + 4 / 32)), rel=0.02
    )
    assert found["interval"]["coverage"] == pytest.approx(0.9, abs=0.006)
    few = SIGMA * math.sqrt(1 + 4 / 8)
    assert found["mean"]["rmse_mg_c_ha"] == pytest.approx(few, rel=0.02)


def test_bias_by_the_map_is_none_where_by_the_labels_it_is_drawn_to_the_middle():
    found, _ = judged(draws=32)
    by_truth = [c["bias_mg_c_ha"] for c in found["classes"] if c["pixels"] > 500]
    by_map = [c["bias_mg_c_ha"] for c in found["classes_by_map"] if c["pixels"] > 500]
    assert by_truth[0] > 5 > -5 > by_truth[-1]
    assert max(map(abs, by_map)) < 2  # the mean of 32 still has a 32nd of the draws' variance


def test_a_verdict_does_not_depend_on_tiles(monkeypatch):
    _, whole = judged(draws=8)
    monkeypatch.setattr(judge, "TILE_PX", 64)
    _, parts = judged(draws=8)
    np.testing.assert_allclose(whole.pixels.table, parts.pixels.table)
    for name in ("one", "mean", "whole", "by_truth", "by_map", "baseline"):
        one, other = (getattr(v, name) for v in (whole, parts))
        figures = [
            json.loads(json.dumps(v.to_json() if name.startswith("by") else v.to_json(400.0)))
            for v in (one, other)
        ]
        assert flat(figures[0]) == pytest.approx(flat(figures[1]), rel=1e-9, nan_ok=True), name


def flat(value):
    """Numbers of nested plain values, in order."""
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    if isinstance(value, list):
        return [x for v in value for x in flat(v)]
    return [math.nan if value is None else value]


def test_single_pixels_are_bounded_and_the_same_for_any_tiles(monkeypatch):
    monkeypatch.setattr(judge, "KEPT_PX", 5000)
    _, whole = judged(draws=8)
    monkeypatch.setattr(judge, "TILE_PX", 64)
    _, parts = judged(draws=8)
    assert len(whole.pixels.table) == 5000
    np.testing.assert_allclose(whole.pixels.table, parts.pixels.table)


def test_a_second_image_is_judged_like_the_first():
    one, two = judged(draws=8)[1], judged(draws=8, images=2)[1]
    assert two.one.errors.count == 2 * one.one.errors.count
    assert two.baseline.count == 2 * one.baseline.count
    assert two.one.errors.rmse == pytest.approx(one.one.errors.rmse)


def test_the_two_halves_of_an_interval_share_no_block_of_the_split():
    pixels = judged(draws=8)[1].pixels
    parts = [set(pixels.column("part")[half].tolist()) for half in (pixels.halves, ~pixels.halves)]
    assert all(parts)
    assert not parts[0] & parts[1]


def test_no_stand_lies_in_both_halves_of_an_interval():
    """Not even one that straddles two held-out blocks."""
    pixels = judged(draws=8)[1].pixels
    lots = fields.uniform(*fields.places(GRID), fields.field_key(0, "kept")).ravel()
    order = np.argsort(lots)
    place = order[np.searchsorted(lots[order], pixels.column("lot"))]
    stand = Land().stands(GRID).ravel()[place]
    rows, cols = (at.ravel()[place] for at in judge.blocks(GRID, 500.0))
    spread = {s: np.ptp(rows[stand == s]) + np.ptp(cols[stand == s]) for s in set(stand.tolist())}
    assert sum(apart > 0 for apart in spread.values()) > 5
    assert not set(stand[pixels.halves].tolist()) & set(stand[~pixels.halves].tolist())


def test_every_pixel_has_the_split_block_of_its_stand(county):
    project = config.load(county.path / "carbonmap.toml", SPLIT[1::2])
    grid = stack_grid(county.path / "archive", "demo")
    job = job_of(project, "demo", grid, parse_periods("2020-11"), county.path / "labels")
    found = run._ground(job).split_blocks(grid)
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


def test_one_block_held_out_has_no_k_and_says_why():
    found, _ = judged(draws=8, split_m=1e6)
    assert found["interval"]["k"] is None
    assert "one block" in found["interval"]["why"]


def test_draws_that_agree_have_no_k_and_say_why():
    found, _ = judged(Perfect(0.0), draws=8)
    assert found["interval"]["k"] is None
    assert "agree" in found["interval"]["why"]
    assert "coverage" not in found["interval"]


def test_a_model_of_which_no_held_out_pixel_is_known_is_refused_by_name():
    with pytest.raises(ModelError, match=r"model 'it' has no held-out pixel"):
        judged(Blind())


def test_scores_in_strips_are_those_of_the_tile(monkeypatch):
    whole = judged(draws=8)[1].whole
    monkeypatch.setattr(judge, "STRIP", 7 * 8 * GRID.width)
    strips = judged(draws=8)[1].whole
    assert strips.ranks == pytest.approx(whole.ranks)
    assert strips.crps == pytest.approx(whole.crps, rel=1e-12)


def test_pixels_in_strips_have_the_figures_of_their_draws(monkeypatch):
    whole = judged(draws=16)[1].pixels
    monkeypatch.setattr(judge, "STRIP", 16 * 999)
    np.testing.assert_array_equal(judged(draws=16)[1].pixels.table, whole.table)
    held, _ = Land().candidates(Tile("all", np.s_[:, :], GRID), Role.VALIDATION)
    lots = fields.uniform(*fields.places(GRID), fields.field_key(0, "kept"))[held]
    drawn = Perfect().draws({}, GRID, 16)[:, held][:, np.argsort(lots)].astype(np.float64)
    np.testing.assert_array_equal(whole.column("one"), drawn[0])
    np.testing.assert_allclose(whole.column("few"), drawn[:8].mean(0))
    np.testing.assert_allclose(whole.column("mean"), drawn.mean(0))
    np.testing.assert_allclose(whole.column("spread"), drawn.std(0, ddof=1))


def test_what_is_kept_of_a_tiles_draws_takes_little_memory_besides_them(monkeypatch):
    monkeypatch.setattr(judge, "KEPT_PX", 1000)
    monkeypatch.setattr(judge, "STRIP", 1 << 14)
    land, drawn = ground(), Perfect().draws({}, GRID, 64)
    truth = drawn_at(GRID, 0).astype(np.float32)
    tracemalloc.start()
    try:
        held = judge._pixels(drawn, truth, GRID, land)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(held.table) == 1000
    assert peak < drawn.nbytes / 2


@pytest.mark.parametrize(("edge", "shape"), [(64, (64, 64)), (256, (256, 256)), (999, (300, 260))])
def test_land_to_be_shown_lies_in_the_region_and_has_its_whole_edge(edge, shape):
    part = timing.spot(Land(), edge)
    assert part.shape == shape
    assert part.intersection(GRID) == part


def test_seconds_are_told_for_a_whole_tile(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(timing, "clock", lambda _: lambda: next(ticks))
    part = GRID[:128, :128]
    found = timing.seconds({"a": Perfect(), "b": Perfect()}, ground().stacks[0], GRID, part, "cpu")
    assert found == {"a": 4.0, "b": 4.0}
