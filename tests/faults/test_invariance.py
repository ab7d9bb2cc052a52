"""One map, whatever the way there: whole files by their bytes, of models that draw and do not."""

import random
import re
import signal

import numpy as np
import pytest
import rasterio
import torch

from carbonmap import checkpoint
from carbonmap.checkpoint.families import build
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.models import neural
from carbonmap.models.neural import Neural
from carbonmap.models.protocol import Windowed
from carbonmap.stages import common
from carbonmap.tiles import Tile
from tests.conftest import MAP
from tests.faults.harm import Command, Run, require_whole, run
from tests.learners import narrow
from tests.stages.conftest import INPUTS, keep

pytestmark = pytest.mark.faults

PREDICT = ("predict", "--dates", "2020-11", "--model")

KILLS = 20


@pytest.fixture(params=["ols", "iidm"])
def way(request, place):
    """The county across four tiles, and the command that maps it by a model."""
    if request.param == "iidm":
        torch.manual_seed(0)
        specs = {"network": narrow(len(INPUTS.channels)), "diffusion": DiffusionSpec(steps=3)}
        learner = build("iidm", specs)
        torch.nn.init.normal_(learner.network.last.weight)
        keep(place, "iidm", learner, samples=3)
    return place, (*PREDICT, f"models/{request.param}", "-o")


def test_tiles_in_any_order(way, monkeypatch):
    place, words = way
    place.run(*words, "maps")
    want, inner, orders = place.products("maps"), common.ahead, []

    def shuffled(one, left, workers, stop=None):
        parts = list(left)
        if isinstance(parts[0], Tile):  # and not the maps that are joined
            random.Random(len(orders)).shuffle(parts)
            orders.append(parts != list(left))
        return inner(one, parts, workers, stop)

    monkeypatch.setattr(common, "ahead", shuffled)
    for number in range(3):
        place.run(*words, f"other{number}")
        assert place.products(f"other{number}") == want
    assert sum(orders) >= 3


@pytest.mark.parametrize("size", [1, 3, 8])
def test_windows_in_batches_of_any_size_that_never_changes(way, monkeypatch, size):
    """As on a GPU, where windows are computed in batches that are filled up; on a CPU one is one.

    Sums of a batch may round otherwise in another one: by 1e-4 of the label scale at most.
    """
    place, words = way
    place.run(*words, "maps")
    monkeypatch.setattr(neural, "_fixed", lambda *_: size)
    place.run(*words, "one")
    place.run(*words, "two", "--set", "output.threads=2")
    assert place.products("one") == place.products("two")
    one, plain = (density(place, folder) for folder in ("one", "maps"))
    np.testing.assert_allclose(one, plain, atol=1e-4 * 300)
    if size == 1:
        assert place.products("one") == place.products("maps")


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times(way):
    place, words = way
    folder = "maps"
    assert run(place, (*words, "whole")).code == 0
    want, draw, killed = place.products("whole"), random.Random(20), 0
    command = Command((*words, folder), folder, MAP.replace(".tif", ".json"))
    long = 1.5 if "iidm" in words[-2] else 0.6
    for _ in range(KILLS):
        done = Run(place, command.words).after(draw.uniform(0, long)).send(signal.SIGKILL).end()
        assert done.code in (0, -signal.SIGKILL), done.err
        killed += done.code != 0
        require_whole(place, command, {}, want)
    assert killed > KILLS // 4
    assert run(place, command.words).code == 0
    assert place.products(folder) == want


def density(place, folder, name=MAP):
    with rasterio.open(place.path / folder / name) as source:
        return source.read(1)


def test_a_part_of_the_region_alone(way):
    """It knows nothing of the land beyond its edges: a margin of it is another map."""
    place, words = way
    place.run(*words, "maps")
    with rasterio.open(place.path / "maps" / MAP) as source:
        bounds, pixel = source.bounds, source.transform.a
    top, left, size = 24, 40, 100
    x, y = bounds.left + left * pixel, bounds.top - top * pixel
    text = (place.path / "carbonmap.toml").read_text(encoding="utf-8")
    part = re.search(r"\[region\.demo\].*?(?=\n#|\n\[|\Z)", text, re.DOTALL)[0]
    edges = [x, y - size * pixel, x + size * pixel, y]
    part = re.sub(r"bounds = .*", f"bounds = {edges}", part.replace("region.demo", "region.part"))
    (place.path / "carbonmap.toml").write_text(f"{text}\n{part}\n", encoding="utf-8")
    bands = ",".join(
        f"{b}=county/image_2020-11-15_{b}.tif" for b in ("blue", "green", "red", "nir")
    )
    of = ("--region", "part")
    place.run("ingest", "image", "--bands", bands, "--date", "2020-11-15", "--scale", "1e-4", *of)
    place.run("ingest", "dem", "county/dem.tif", *of)
    place.run(*words, "alone", *of)
    model = checkpoint.load(place.path / words[-2]).model
    margin = model.halo + (model.reach if isinstance(model, Windowed) else 0)
    assert isinstance(model, Neural) == ("iidm" in words[-2])
    inner = (slice(margin, -margin),) * 2
    whole = density(place, "maps")[top : top + size, left : left + size]
    alone = density(place, "alone", MAP.replace("demo", "part"))
    assert alone.shape == (size, size)
    assert alone[inner].size > 400
    np.testing.assert_array_equal(alone[inner], whole[inner])
