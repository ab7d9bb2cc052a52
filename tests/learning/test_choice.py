"""What a preset means: a learning rate, and on which scale labels are noised."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from carbonmap.diffusion.spec import PAPER, DiffusionSpec  # noqa: E402
from carbonmap.errors import ModelError  # noqa: E402
from carbonmap.learning import choice  # noqa: E402
from carbonmap.learning.choice import (  # noqa: E402
    DEVIATION,
    ROWS,
    rate_for,
    specs_for,
    standardised,
)
from carbonmap.learning.diffusion import Diffusion  # noqa: E402
from carbonmap.learning.learner import Batch  # noqa: E402

FULL = [name for name in ROWS if not name.endswith("-tiny")]
TINY = [name for name in ROWS if name.endswith("-tiny")]
PLAIN_IDM = ["idm", "idm-tiny", *(name for name in ROWS if name.startswith("table2:IDM"))]


@pytest.mark.parametrize("kind", ["unet", "vae", "iidm", "iidm-residual"])
def test_the_larger_a_network_the_slower_it_learns(kind):
    assert [rate_for(kind, size) for size in ("tiny", "small", "paper")] == [2e-3, 5e-4, 1e-4]


def test_the_papers_rows_learn_at_the_papers_rate_and_their_small_copies_as_tiny_does():
    assert len(FULL) == len(TINY) == 23
    assert {rate_for("iidm", name) for name in ["idm", *FULL]} == {1e-4}
    assert {rate_for("iidm", name) for name in ["idm-tiny", *TINY]} == {2e-3}


@pytest.mark.parametrize("size", ["tiny", "small", "paper"])
def test_a_gan_learns_at_pix2pixs_rate_whatever_its_size(size):
    assert rate_for("gan", size) == 2e-4


class Saying(nn.Module):
    """A denoiser that says one number of every map."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _x, y, _gamma):
        return torch.full_like(y, self.value)


@pytest.mark.parametrize("want", [DEVIATION, 0.3])
@pytest.mark.parametrize("preset", ["tiny", "small", "table1:kd-vgg, attention-tiny"])
def test_what_is_noised_has_a_mean_of_nothing_and_the_stated_deviation(preset, want, monkeypatch):
    """Of a clean estimate e the loss is the mean of (y₀ − e)², that is the variance and e²."""
    monkeypatch.setattr(choice, "DEVIATION", want)
    labels = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)) ** 4 * 1.6 - 1
    mean, deviation = labels.mean().item(), labels.std(correction=0).item()
    asked = {"predicts": "clean", "weighting": "none", "steps": 3}
    spec = specs_for("iidm", preset, 3, {}, standardised("iidm", preset, asked, mean, deviation))[
        "diffusion"
    ]
    batch = Batch(torch.zeros(8, 3, 32, 32), labels, torch.ones_like(labels))
    for value in (0.0, 0.1, -0.1):
        (part,) = Diffusion(Saying(value), spec).parts
        loss = part.loss(batch, torch.Generator().manual_seed(1)).item()
        assert loss == pytest.approx(want**2 + value**2, rel=1e-4)
    assert (spec.predicts, spec.steps) == ("clean", 3)


@pytest.mark.parametrize("preset", ["paper", *FULL, *PLAIN_IDM])
def test_the_papers_and_plain_idm_at_any_size_noise_the_labels_themselves(preset):
    assert standardised("iidm", preset, {"steps": 5}, -0.7, 0.2) == {"steps": 5}
    assert specs_for("iidm", preset, 3, {}, {})["diffusion"] == PAPER


@pytest.mark.parametrize("kind", ["iidm-residual", "unet", "vae", "gan"])
def test_no_other_kinds_labels_are_standardised(kind):
    assert standardised(kind, "tiny", {}, -0.7, 0.2) == {}


@pytest.mark.parametrize(
    ("set_by_user", "want"),
    [
        ({}, (-0.7, 0.2 / DEVIATION)),
        ({"centre": 0.1}, (0.1, 0.2 / DEVIATION)),
        ({"spread": 2.0}, (-0.7, 2.0)),
        ({"centre": 0.0, "spread": 1.0}, (0.0, 1.0)),
    ],
)
def test_a_centre_or_spread_that_the_user_gave_stays(set_by_user, want):
    found = standardised("iidm", "tiny", set_by_user, -0.7, 0.2)
    assert (found["centre"], found["spread"]) == pytest.approx(want)


def test_labels_that_are_all_alike_are_left_as_they_are():
    assert standardised("iidm", "tiny", {}, -0.7, 0.0) == {}
    assert specs_for("iidm", "tiny", 3, {}, {})["diffusion"] == DiffusionSpec()


@pytest.mark.parametrize("values", [{"centre": 0.1}, {"spread": 0.5}])
def test_a_residual_has_a_scale_of_its_own_and_takes_no_other(values):
    with pytest.raises(ModelError, match=r"`model.diffusion` .*centre.*leave"):
        specs_for("iidm-residual", "tiny", 3, {}, values)


def test_a_row_of_the_papers_tables_that_is_not_there_is_answered_by_those_that_are():
    with pytest.raises(ModelError, match=r"did you mean 'table1:kd-unet'.*table2:Ours-KD-VGG-19"):
        specs_for("iidm", "table1:kd-unit", 4, {}, {})
