"""`calibrate`, and the maps that follow from it, on a small county."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from carbonmap import checkpoint, config
from carbonmap.dates import parse_periods
from carbonmap.intervals import calibrate, coverage, sides
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.job import job_of
from carbonmap.summaries import deviation
from carbonmap.tiles import Tile
from tests.conftest import SPLIT

FOUND = ("models", "iidm", "interval_4_draws_2_steps.json")
DRAW = ("--model", "models/iidm", "--dates", "2020-11", "--samples", "4")
NAMES = ("carbon_density", *(f"carbon_density_{n}" for n in ("sd", "low90", "high90")))


def read(place, folder, name):
    with rasterio.open(place.path / folder / f"demo_2020-11_{name}.tif") as source:
        return source.read(1), source.descriptions[0], source.units[0], source.tags(1)


@pytest.fixture
def known(drawn, monkeypatch):
    """All draws of the county, and its labels with their roles."""
    monkeypatch.chdir(drawn.path)
    grid = stack_grid(drawn.path / "archive", "demo")
    model = checkpoint.load(Path("models/iidm")).model
    stack = open_stack(drawn.path / "archive", "demo", ["2020-11"])
    seen = scope.read_layers(stack, grid, grid, model.layers, model.halo)
    project = config.load(None, [word for word in SPLIT if word != "--set"])
    job = job_of(project, "demo", grid, parse_periods("2020-11"), Path("labels"))
    whole = Tile("all", (slice(0, grid.height), slice(0, grid.width)), grid)
    usable, density = job.split()[1].candidates(whole, Role.VALIDATION)
    return model.draws(seen, grid, 4), np.where(usable, density, np.nan).astype(float)


def test_k_is_the_least_that_holds_the_share_of_the_labels_held_out(drawn, known, capsys):
    drawn.run("calibrate", *DRAW, *SPLIT)
    told = drawn.json(*FOUND)["report"]
    held, truth = sides(known[0]), known[1]
    assert np.isfinite(truth).sum() > 500
    assert told["k"] == pytest.approx(calibrate(held.mean, held.towards(truth), truth), rel=1e-6)
    assert coverage(*held.bounds(told["k"] * 1.000001), truth).share >= 0.9
    assert (told["samples"], told["sampler_steps"], told["reach"]) == (4, 2, "standard deviation")
    out = capsys.readouterr().out
    assert "of 4 draws hold 90% of the labels held out" in out
    drawn.run("calibrate", *DRAW, *SPLIT)
    assert "is up to date" in capsys.readouterr().out
    drawn.run("calibrate", *DRAW, *SPLIT, "--set", "labels.min_coverage=0.5", code=1)


def test_maps_of_draws_say_how_they_differ_and_once_it_is_known_how_far_they_err(
    drawn, known, capsys
):
    drawn.run("predict", *DRAW, "-o", "m")
    assert "`carbonmap calibrate` finds" in capsys.readouterr().out
    assert sorted(p.name for p in (drawn.path / "m").glob("*.tif")) == [
        "demo_2020-11_carbon_density.tif", "demo_2020-11_carbon_density_sd.tif",
    ]  # fmt: skip
    drawn.run("calibrate", *DRAW, *SPLIT)
    drawn.run("predict", *DRAW, "-o", "m", code=1)
    assert "interval" in capsys.readouterr().err
    drawn.run("predict", *DRAW, "-o", "m", "--overwrite")
    assert "Mg C/ha wide on average" in capsys.readouterr().out
    held, k = sides(known[0]), drawn.json(*FOUND)["report"]["k"]
    low, high = held.bounds(k)
    inside = np.isfinite(read(drawn, "m", NAMES[0])[0])
    wants = (held.mean, deviation(known[0]), low, high)
    for name, want in zip(NAMES, wants, strict=True):
        found, band, units, tags = read(drawn, "m", name)
        np.testing.assert_array_equal(found, np.where(inside, want, np.nan).astype(np.float32))
        assert (band, units) == (name, "Mg C ha-1")
        assert "carbon density" in tags["long_name"]
        assert drawn.json("m", f"demo_2020-11_{name}.json")["report"]["units"] == units
    assert (drawn.path / "m" / "demo_2020-11_carbon_density_sd.qml").is_file()


def test_an_interval_found_on_another_day_is_mapped_with_a_warning(drawn, capsys):
    drawn.run("calibrate", *DRAW, *SPLIT)
    drawn.run("predict", *DRAW, "-o", "m")
    assert "warning: the interval was found" not in capsys.readouterr().out
    with rasterio.open(drawn.path / "m" / "demo_2020-11_carbon_density_low90.tif") as source:
        tags = source.tags()
    assert (
        "times the draws' standard deviation, found on demo, 2020-11-15"
        in (tags["CARBONMAP_INTERVAL"])
    )
    mark = drawn.path.joinpath(*FOUND)
    told = json.loads(mark.read_text())
    told["report"]["dates"] = ["2020-02-15"]
    mark.write_text(json.dumps(told))
    drawn.run("predict", *DRAW, "-o", "other")
    assert "warning: the interval was found on demo, 2020-02-15" in capsys.readouterr().out


def test_settings_of_a_model_that_calibrate_would_ignore_are_refused(drawn, capsys):
    drawn.run("calibrate", *DRAW, *SPLIT, "--set", "model.samples=8", code=1)
    assert "says nothing to this command" in capsys.readouterr().err


def test_an_interval_of_other_weights_or_draws_is_not_taken(drawn, capsys):
    drawn.run("calibrate", *DRAW, *SPLIT)
    drawn.run("predict", *DRAW[:4], "--samples", "3", "-o", "three")
    assert not list((drawn.path / "three").glob("*low90*"))
    mark = drawn.path.joinpath(*FOUND)
    told = json.loads(mark.read_text())
    told["origin"]["model"] = "0" * 64
    mark.write_text(json.dumps(told))
    drawn.run("predict", *DRAW, "-o", "m")
    assert not list((drawn.path / "m").glob("*low90*"))
    mark.write_text("{")
    drawn.run("predict", *DRAW, "-o", "m")
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize("samples", ["1", "0"])
def test_one_draw_has_no_interval(drawn, capsys, samples):
    drawn.run("calibrate", *DRAW[:4], "--samples", samples, *SPLIT, code=1)
    assert "--samples" in capsys.readouterr().err
    assert not list((drawn.path / "models" / "iidm").glob("interval*"))


def test_a_model_that_does_not_draw_has_no_interval(network, capsys):
    for model in ("ols", "unet"):
        words = ("--model", f"models/{model}", "--dates", "2020-11", *SPLIT)
        network.run("calibrate", *words, code=1)
        assert "give a model that draws" in capsys.readouterr().err


def test_a_model_that_has_seen_what_is_held_out_is_refused(drawn, capsys):
    drawn.run("calibrate", *DRAW, *SPLIT, "--set", "model.split.seed=5", code=1)
    assert "trained with another split" in capsys.readouterr().err
