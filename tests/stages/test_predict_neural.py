"""A network's folder through `carbonmap predict`, on a small county."""

import json
import os
import signal
import threading

import numpy as np
import pytest
import rasterio

from carbonmap import checkpoint
from carbonmap.cli.options import INTERRUPTED
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.models.neural import Neural
from carbonmap.stages import common, scope
from tests.conftest import MAP, bands_of

PREDICT = ("predict", "--dates", "2020-11", "--model", "models/unet", "-o")


def test_a_networks_map_is_its_answer_at_every_pixel_whatever_the_tiles(network, monkeypatch):
    network.run(*PREDICT, "m")
    with rasterio.open(network.path / "m" / MAP) as source:
        found, tags = source.read(1), source.tags()
    grid = stack_grid(network.path / "archive", "demo")
    loaded = checkpoint.load(network.path / "models" / "unet")
    stack = open_stack(network.path / "archive", "demo", ["2020-11"])
    seen = scope.read_layers(stack, grid, grid, loaded.model.layers, loaded.model.halo)
    np.testing.assert_array_equal(found, loaded.model.predict(seen, grid))
    assert np.isfinite(found).mean() > 0.5
    assert (tags["CARBONMAP_MODEL"], tags["CARBONMAP_MODEL_SHA256"]) == ("unet", loaded.sha256)
    monkeypatch.setattr(common, "TILE_PX", 57)
    network.run(*PREDICT, "tiled", "--set", "output.threads=2")
    with rasterio.open(network.path / "tiled" / MAP) as source:
        np.testing.assert_array_equal(source.read(1), found)


def test_land_unlike_what_a_network_learned_is_warned_of(network):
    mark = network.path / "models" / "unet" / checkpoint.MARK
    held = json.loads(mark.read_text())
    held["report"]["feature_ranges"]["nir"] = [10.0, 11.0]
    mark.write_text(json.dumps(held))
    network.run(*PREDICT, "m")
    told = network.json("m", MAP.replace(".tif", ".json"))["report"]
    assert told["outside_learned_range"]["nir"] == 1
    assert any("nir" in warning for warning in told["warnings"])
    assert told["outside_learned_range"]["slope"] < 0.1


def test_a_network_of_another_pixel_is_refused(network, capsys):
    mark = network.path / "models" / "unet" / checkpoint.MARK
    held = json.loads(mark.read_text())
    held["report"]["pixel_m"] = 30.0
    mark.write_text(json.dumps(held))
    network.run(*PREDICT, "m", code=1)
    assert "pixels of 30 m" in capsys.readouterr().err


def test_an_image_that_lacks_a_band_is_refused(network, capsys):
    bands = ",".join(f"{b}=county/image_2020-05-15_{b}.tif" for b in ("blue", "red", "nir"))
    network.run("ingest", "image", "--bands", bands, "--date", "2020-05-15", "--scale", "1e-4")
    network.run("predict", "--dates", "2020-05", "--model", "models/unet", "-o", "m", code=1)
    assert "reads band green" in capsys.readouterr().err


DRAW = ("predict", "--dates", "2020-11", "--model", "models/iidm", "-o")


def density(folder, name):
    with rasterio.open(folder.path / name / MAP) as source:
        return source.read(1)


def test_the_cards_own_draws_asked_for_by_name_are_the_same_map_to_the_byte(drawn, capsys):
    drawn.run(*DRAW, "m")
    assert "mean of 2 draws, without an interval" in capsys.readouterr().out
    drawn.run(*DRAW, "named", "--samples", "2", "--steps", "2", "--device", "cpu")
    assert drawn.products("named") == drawn.products("m")
    drawn.run(*DRAW, "m", "--samples", "2")
    assert "up to date" in capsys.readouterr().out
    told = drawn.json("m", MAP.replace(".tif", ".json"))["report"]
    assert (told["samples"], told["sampler_steps"], told["device"]) == (2, 2, "cpu")
    with rasterio.open(drawn.path / "m" / MAP) as source:
        tags = source.tags()
    assert tags["CARBONMAP_ESTIMATE"] == "mean of 2 draws"
    assert (tags["CARBONMAP_SAMPLES"], tags["CARBONMAP_SAMPLER_STEPS"]) == ("2", "2")


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (["--steps", "3"], "drawing.sampler_steps: 2 → 3"),
        (["--samples", "1"], "drawing.samples: 2 → 1"),
    ],
)
def test_other_draws_are_another_map(drawn, capsys, words, difference):
    drawn.run(*DRAW, "m")
    before = drawn.products("m")
    drawn.run(*DRAW, "m", *words, code=1)
    assert difference in capsys.readouterr().err
    assert drawn.products("m") == before
    drawn.run(*DRAW, "other", *words)
    assert not np.array_equal(density(drawn, "other"), density(drawn, "m"), equal_nan=True)
    drawn.run(*DRAW, "m", *words, "--overwrite")
    assert drawn.products("m") == drawn.products("other")


def test_noise_is_of_the_place_and_not_of_the_date(drawn):
    """The same image under two dates gives the same draws, so that no change is noise alone."""
    bands = bands_of("2020-11-15")
    drawn.run("ingest", "image", "--bands", bands, "--date", "2020-02-15", "--scale", "1e-4")
    drawn.run("predict", "--model", "models/iidm", "--dates", "2020-02,2020-11", "-o", "both")
    maps = []
    for month in ("02", "11"):
        with rasterio.open(drawn.path / "both" / MAP.replace("-11", f"-{month}")) as source:
            maps.append(source.read(1))
    np.testing.assert_array_equal(*maps)
    assert np.nanstd(maps[0]) > 0


@pytest.mark.parametrize("words", [("--samples", "8"), ("--steps", "2"), ("--device", "cpu")])
def test_a_regressor_refuses_what_says_nothing_to_it(copy, capsys, words):
    copy.run("predict", "--dates", "2020-11", "--model", "models/ols", "-o", "m", *words, code=1)
    assert f"{words[0]} says nothing to ols" in capsys.readouterr().err
    assert not (copy.path / "m").exists()


def test_a_map_without_draws_tells_of_none(network, capsys):
    network.run(*PREDICT, "m")
    assert "from a model, without an interval" in capsys.readouterr().out
    assert "samples" not in network.json("m", MAP.replace(".tif", ".json"))["report"]
    network.run(*PREDICT, "n", "--samples", "2", code=1)
    assert "draws are all alike" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to a thread")
def test_an_interrupted_map_does_not_wait_for_its_tiles_to_end(drawn, monkeypatch):
    """Each tile under way ends at its next window, of which many draws take long."""
    monkeypatch.setattr(common, "TILE_PX", 80)
    inner, told, computed = Neural._densities, [], []

    def slow(self, *words):
        if not told:
            told.append(True)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        computed.append(self.stop.wait(20))
        return inner(self, *words)

    monkeypatch.setattr(Neural, "_densities", slow)
    drawn.run(*DRAW, "m", "--set", "output.threads=1", code=INTERRUPTED)
    assert computed == [True]
    assert not (drawn.path / "m" / MAP).exists()


def test_long_parts_are_told_to_end_before_they_are_waited_for():
    stop = threading.Event()

    def one(part):
        if part == 0:
            raise OSError
        assert stop.wait(20)

    with pytest.raises(OSError):  # noqa: PT011  # any will do
        list(common.ahead(one, range(2), 2, stop.set))
    assert stop.is_set()


def test_settings_of_a_model_that_predict_would_ignore_are_refused(drawn, capsys):
    drawn.run(*DRAW, "m", "--set", "model.samples=3", code=1)
    assert "--set model.… says nothing to this command" in capsys.readouterr().err
    assert not (drawn.path / "m").exists()


def test_programs_are_told_the_same_by_a_run_that_finds_all_done(drawn, capsys):
    told = []
    for _ in range(2):
        drawn.run(*DRAW, "m", "--json")
        (one,) = json.loads(capsys.readouterr().out)["maps"]
        told.append(one)
    assert [one.pop("state") for one in told] == ["written", "up to date"]
    assert told[0] == told[1]
