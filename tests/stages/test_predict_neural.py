"""A network's folder through `carbonmap predict`, on a small county."""

import json

import numpy as np
import pytest
import rasterio
import torch

from carbonmap import checkpoint
from carbonmap.checkpoint import neural
from carbonmap.checkpoint.families import build
from carbonmap.features import features
from carbonmap.io import files, output
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.models.neural import Neural
from carbonmap.networks.specs import UnetSpec
from carbonmap.normalise import Inputs, Moments
from carbonmap.stages import common, scope
from tests.conftest import MAP

INPUTS = Inputs(("image", "terrain"))

SAME = ("profile", "pools", "image_scale", "label_range_mg_c_ha", "split")
"""What `train` adds to any model's card."""


@pytest.fixture
def network(copy):
    """The county with a network that learned nothing but the layers' means and spreads."""
    archive = copy.path / "archive"
    grid = stack_grid(archive, "demo")
    seen = scope.read_layers(open_stack(archive, "demo"), grid, grid, INPUTS.layers, INPUTS.halo)
    x = features(seen, INPUTS.features, grid.pixel_m).reshape(len(INPUTS.features.names), -1).T
    x = x[np.isfinite(x).all(axis=1)]
    torch.manual_seed(0)
    learner = build("unet", {"network": UnetSpec(len(INPUTS.channels), (4, 8))})
    norm = Moments.of(x).normalisation()
    model = Neural(learner, INPUTS, norm, 32, grid.pixel_m, 300.0)
    folder = copy.path / "models" / "unet"
    weights = neural.write(folder, learner)
    own = copy.json("models", "ols", checkpoint.MARK)["report"]
    low, high = np.percentile(x.astype(float), (0.1, 99.9), axis=0).tolist()
    ranges = {n: [a, b] for n, a, b in zip(INPUTS.features.names, low, high, strict=True)}
    facts = neural.card(model) | {key: own[key] for key in SAME} | {"feature_ranges": ranges}
    held = {weights.name: files.describe(weights)}
    output.write_mark(folder / checkpoint.MARK, {"stage": "train"}, held, facts)
    return copy


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
