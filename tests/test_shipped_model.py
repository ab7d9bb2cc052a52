"""The model that comes with carbonmap: small, data only, and made as its recipe says."""

import dataclasses
import itertools
import tomllib
from pathlib import Path

import pytest

from carbonmap import checkpoint, config
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.io import output
from carbonmap.learning.settings import Training

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "pipelines" / "models" / "county-iidm"

MOST_BYTES = 10_000_000
"""Of a clone that many make for the code alone."""


@pytest.fixture(scope="module")
def card():
    return output.require_complete(FOLDER / checkpoint.MARK, "model")["report"]


def test_it_is_small_and_nothing_but_data():
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(files) == {"model.json", "weights.safetensors", "split.parquet", "training.jsonl"}
    assert sum(files.values()) < MOST_BYTES


def test_it_loads_whole(card):
    loaded = checkpoint.load(FOLDER)
    assert loaded.card == card
    assert (loaded.model.generative, loaded.model.pixel_m) == (True, 16.0)
    assert loaded.model.layers == ("blue", "green", "red", "nir", "elevation")


def test_its_recipe_asks_for_what_its_card_tells(card):
    *_, words = config.recipe(ROOT / "pipelines" / "county_iidm.toml")
    options = dict(itertools.pairwise(words))
    told = tomllib.loads("\n".join(plain(w) for w in words if w.startswith("model.")))["model"]
    assert (words[0], options["--model"]) == ("train", card["kind"])
    learned = Training(minutes=float(options["--minutes"]), **told.pop("training"))
    origin = output.require_complete(FOLDER / checkpoint.MARK, "model")["origin"]["model"]
    assert origin["training"] == dataclasses.asdict(learned)
    noise = card["network"]["specs"]["diffusion"]
    asked = DiffusionSpec(centre=noise["centre"], spread=noise["spread"], **told.pop("diffusion"))
    assert noise == asked.to_json()
    assert {name: card["network"][name] for name in told} == told


def plain(word):
    """A `--set` word as TOML."""
    key, _, value = word.partition("=")
    return f"{key}={value}" if value[:1].isdigit() else f'{key}="{value}"'


def test_the_demo_predicts_with_it_on_land_that_it_never_saw(card):
    steps = config.recipe(ROOT / "pipelines" / "demo.toml")
    (predict,) = [words for words in steps if words[0] == "predict"]
    assert Path(predict[predict.index("--model") + 1]) == FOLDER
    shifted = config.recipe(ROOT / "pipelines" / "county_iidm.toml")[0]
    assert int(shifted[shifted.index("--shift") + 1]) > 1024  # beyond the demo's own county
    assert card["training_bounds"][0] > -140880.0  # where that ends in the east, m
