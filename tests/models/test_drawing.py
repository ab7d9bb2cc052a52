import re

import numpy as np
import pytest
import torch

from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.learning.diffusion import Diffusion
from carbonmap.learning.regression import Regression
from carbonmap.learning.vae import VaeLearner
from carbonmap.models.drawing import drawing, redrawn
from carbonmap.models.neural import Neural, ready
from carbonmap.networks.rival_specs import VaeSpec
from carbonmap.networks.specs import UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.normalise import Inputs, Normalisation
from tests import learners

INPUTS = Inputs(("image",))
BANDS = len(INPUTS.channels)
NORM = Normalisation((50.0,) * (BANDS - 1), (30.0,) * (BANDS - 1))
GRID = Grid("EPSG:32612", 30.0, row=3, col=9, height=20, width=24)


def model(learner, samples=2):
    return Neural(ready(learner), INPUTS, NORM, 32, 30.0, 200.0, samples, threads=1)


def diffusion(steps=2):
    return Diffusion(learners.answering(BANDS, 1.0), DiffusionSpec(steps=steps))


def regression():
    torch.manual_seed(0)
    return Regression(Unet(UnetSpec(BANDS, (4, 8))))


def mapped(one):
    rng = np.random.default_rng(0)
    side = 2 * one.halo
    shape = GRID.height + side, GRID.width + side
    layers = {name: rng.uniform(0, 100, shape).astype(np.float32) for name in one.layers}
    return one.predict(layers, GRID)


def test_samples_are_the_draws_whose_mean_is_the_map():
    held = model(diffusion(), samples=3)
    np.testing.assert_array_equal(mapped(redrawn(held, samples=5)), mapped(model(diffusion(), 5)))
    np.testing.assert_array_equal(mapped(redrawn(held)), mapped(held))
    assert not np.array_equal(mapped(redrawn(held, samples=5)), mapped(held))


def test_steps_are_the_samplers_and_nothing_else_changes():
    held = model(diffusion(steps=2))
    found = redrawn(held, steps=4)
    np.testing.assert_array_equal(mapped(found), mapped(model(diffusion(steps=4))))
    assert held.learner.spec.steps == 2
    assert found.learner.network is held.learner.network
    assert not np.array_equal(mapped(found), mapped(held))


def test_the_residuals_sampler_takes_steps_too():
    torch.manual_seed(0)
    found = redrawn(model(learners.residual()), steps=3)
    assert (found.learner.spec.steps, drawing(found)["sampler_steps"]) == (3, 3)


def test_what_is_told_is_what_the_map_depends_on():
    assert drawing(model(diffusion(), 3)) == {"device": "cpu", "samples": 3, "sampler_steps": 2}
    assert drawing(model(regression())) == {"device": "cpu"}
    torch.manual_seed(0)
    vae = VaeLearner.of(VaeSpec(BANDS, (4, 8, 8)))
    assert drawing(model(vae, 4)) == {"device": "cpu", "samples": 4, "sampler_steps": None}


@pytest.mark.parametrize(
    ("make", "how", "says"),
    [
        (regression, {"samples": 2}, "--samples says nothing"),
        (regression, {"steps": 2}, "--steps says nothing"),
        (diffusion, {"samples": 0}, "--samples is 0; give 1 to 256"),
        (diffusion, {"steps": 0}, "--steps 0 cannot be.*greater than"),
        (diffusion, {"steps": 2001}, "--steps 2001 cannot be.*2000 `levels`"),
        (diffusion, {"device": "cuda:99"}, "'cuda:99' is not there"),
        (diffusion, {"device": "gpu"}, "'gpu' is not known"),
    ],
)
def test_what_says_nothing_or_cannot_be_is_refused_by_name(make, how, says):
    with pytest.raises(ModelError, match=re.compile(says)):
        redrawn(model(make()), **how)
