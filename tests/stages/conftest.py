"""Networks that learned nothing, in folders of a small county."""

import numpy as np
import pytest
import torch

from carbonmap import checkpoint
from carbonmap.checkpoint import neural
from carbonmap.checkpoint.families import build
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.features import features
from carbonmap.io import files, output
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.models.neural import Neural
from carbonmap.networks.specs import IidmSpec, UnetSpec
from carbonmap.normalise import Inputs, Moments
from carbonmap.stages import scope

INPUTS = Inputs(("image", "terrain"))

SAME = (
    "profile", "pools", "image_scale", "label_range_mg_c_ha", "split", "inputs", "mask",
    "min_coverage",
)  # fmt: skip
"""What `train` adds to any model's card."""


def keep(copy, name, learner, samples=1):
    """A network that learned nothing but the layers' means and spreads, in a folder."""
    archive = copy.path / "archive"
    grid = stack_grid(archive, "demo")
    seen = scope.read_layers(open_stack(archive, "demo"), grid, grid, INPUTS.layers, INPUTS.halo)
    x = features(seen, INPUTS.features, grid.pixel_m).reshape(len(INPUTS.features.names), -1).T
    x = x[np.isfinite(x).all(axis=1)]
    norm = Moments.of(x).normalisation()
    model = Neural(learner, INPUTS, norm, 32, grid.pixel_m, 300.0, samples)
    folder = copy.path / "models" / name
    weights = neural.write(folder, learner)
    own = copy.json("models", "ols", checkpoint.MARK)["report"]
    low, high = np.percentile(x.astype(float), (0.1, 99.9), axis=0).tolist()
    ranges = {n: [a, b] for n, a, b in zip(INPUTS.features.names, low, high, strict=True)}
    facts = neural.card(model) | {key: own[key] for key in SAME} | {"feature_ranges": ranges}
    held = {weights.name: files.describe(weights)}
    output.write_mark(folder / checkpoint.MARK, {"stage": "train"}, held, facts)


@pytest.fixture
def network(copy):
    """The county with a U-Net."""
    torch.manual_seed(0)
    learner = build("unet", {"network": UnetSpec(len(INPUTS.channels), (4, 8))})
    torch.nn.init.normal_(learner.network.last.weight)  # it starts at zero, a flat map
    keep(copy, "unet", learner)
    return copy


@pytest.fixture
def drawn(copy):
    """The county with a denoiser whose card says two draws of two steps."""
    torch.manual_seed(0)
    spec = IidmSpec(
        len(INPUTS.channels), vgg=None, features=4, widths=(4, 8), norm="channel", hidden=4,
        embedding=4, attention_stride=2,
    )  # fmt: skip
    learner = build("iidm", {"network": spec, "diffusion": DiffusionSpec(steps=2)})
    torch.nn.init.normal_(learner.network.last.weight)
    keep(copy, "iidm", learner, samples=2)
    return copy
