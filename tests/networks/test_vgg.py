"""VGG trunks: published counts, the trunk by plain functions, ImageNet's colours in our bands."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from carbonmap.errors import ModelError
from carbonmap.networks.layers import parameters
from carbonmap.networks.specs import LAYERS_OF, VggSpec
from carbonmap.networks.vgg import TABLE_A2, Pyramid, Trunk

SMALL = VggSpec(11, (4, 5, 6, 7, 8, 7, 6, 5))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


def by_functions(trunk, x):
    """A trunk's features from its weights and the list of its layers alone."""
    weights = list(trunk.parameters())
    found = []
    for width in trunk.spec.layers:
        if width:
            kernels, bias, *weights = weights
            x = F.conv2d(F.pad(x, (1, 1, 1, 1)), kernels, bias).clamp(min=0)
            found.append(x)
        else:
            b, c, rows, cols = x.shape
            x = x.reshape(b, c, rows // 2, 2, cols // 2, 2).amax((3, 5))
    return found


def imagenet(depth=11, widths=None):
    """A state like torchvision's, with a classifier."""
    trunk = Trunk(VggSpec(depth, widths), 3)
    for name, value in trunk.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value)
    return {**trunk.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}, trunk


@pytest.mark.parametrize(
    ("depth", "published"), [(11, 9_220_993), (16, 14_715_201), (19, 20_024_897)]
)
def test_a_trunk_of_three_bands_and_its_head_have_the_published_parameters(depth, published):
    with torch.device("meta"):
        trunk = Trunk(VggSpec(depth), 3)
        assert parameters(trunk) + trunk.channels[-1] + 1 == published  # a 1×1 convolution to one


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        (VggSpec(11), 19.55),
        (VggSpec(16), 40.09),
        (VggSpec(19), 50.96),
        (VggSpec(19, TABLE_A2[19]), 12.81),
    ],
)
def test_a_trunk_multiplies_as_often_as_was_measured(spec, published):
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        Trunk(spec, 3)(torch.empty(1, 3, 256, 256))
    assert counted.get_total_flops() / 1e9 == pytest.approx(published, abs=0.006)


def test_the_distilled_trunk_has_the_parameters_of_its_list_and_not_those_of_the_paper():
    with torch.device("meta"):
        assert parameters(Trunk(VggSpec(19, TABLE_A2[19]), 3)) == 2_311_288
        assert TABLE_A2[19][-1] + 1 == 17


@pytest.mark.parametrize(("depth", "counted"), [(11, 1_116_815), (16, 1_549_418)])
def test_the_papers_other_lists_lack_a_convolution(depth, counted):
    with pytest.raises(ValueError, match=f"lists {len(TABLE_A2[depth])}; VGG-{depth} has"):
        VggSpec(depth, TABLE_A2[depth])
    with torch.device("meta"):
        trunk = Trunk(VggSpec(depth, (*TABLE_A2[depth], 1)), 3)
    last = 9 * TABLE_A2[depth][-1] + 1
    assert parameters(trunk) - last == counted


@pytest.mark.parametrize("depth", LAYERS_OF)
def test_a_trunk_is_its_convolutions_and_poolings(depth):
    widths = tuple(3 + i % 3 for i, c in enumerate(c for c in LAYERS_OF[depth] if c))
    trunk = Trunk(VggSpec(depth, widths), 2)
    x = torch.randn(2, 2, 32, 48)
    got, want = trunk(x), by_functions(trunk, x)
    assert [g.shape[1] for g in got] == [*trunk.channels] == [*widths]
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w)


@pytest.mark.parametrize("depth", LAYERS_OF)
def test_the_stages_are_the_last_features_of_each_resolution(depth):
    with torch.device("meta"):
        trunk = Trunk(VggSpec(depth), 3)
        rows = [f.shape[-2] for f in trunk(torch.empty(1, 3, 64, 64))]
    last = [i for i, (here, after) in enumerate(pairwise([*rows, 0])) if here != after]
    assert [*trunk.stages] == last
    assert [rows[i] for i in trunk.stages] == [64, 32, 16, 8, 4]


def test_the_pyramid_is_a_pointwise_convolution_of_all_levels_at_full_resolution():
    pyramid = Pyramid(SMALL, 3, 9)
    x = torch.randn(2, 3, 32, 48)
    found = by_functions(pyramid.trunk, x)
    full = []
    for level, stage in enumerate(pyramid.trunk.stages):
        features = found[stage]
        for _ in range(level):
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        full.append(features)
    joined = torch.cat([lateral.weight for lateral in pyramid.lateral], 1)
    want = F.conv2d(torch.cat(full, 1), joined, pyramid.lateral[0].bias)
    torch.testing.assert_close(pyramid(x), want, rtol=1e-5, atol=1e-5)


def test_every_parameter_of_the_pyramid_learns():
    pyramid = Pyramid(SMALL, 3, 4)
    pyramid(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pyramid.parameters())


def test_a_tile_whose_sides_are_no_multiples_of_16_is_refused():
    with pytest.raises(ModelError, match=r"VGG-11 got a tile of 32 × 40 pixels; .* 16"):
        Pyramid(SMALL, 3, 4)(torch.zeros(1, 3, 32, 40))


def test_blue_green_red_bands_get_imagenets_planes_of_their_own_colour():
    state, theirs = imagenet(16, tuple(range(3, 16)))
    ours = Trunk(theirs.spec, 3)
    ours.load_imagenet(state)
    rgb = torch.rand(1, 3, 32, 32)
    for got, want in zip(ours(rgb.flip(1)), theirs(rgb), strict=True):
        torch.testing.assert_close(got, want)


def test_an_image_equal_in_all_bands_gets_the_response_of_a_grey_one():
    state, theirs = imagenet()
    ours = Trunk(VggSpec(11), 6)
    ours.load_imagenet(state, colours=(4, 0, 2))
    grey = torch.rand(1, 1, 16, 16)
    got, want = ours(grey.expand(-1, 6, -1, -1))[0], theirs(grey.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(got, want)
    kernels, given = ours.features[0].weight, state["features.0.weight"]
    torch.testing.assert_close(kernels[:, [4, 0, 2]], given / 2)
    torch.testing.assert_close(kernels[:, 5], given.mean(1) / 2)


def without(state):
    del state["features.8.bias"]


def with_batch_norm(state):
    state["features.1.running_mean"] = torch.zeros(4)


def other_width(state):
    state["features.6.weight"] = torch.zeros(6, 5, 5, 5)


def other_bands(state):
    state["features.0.weight"] = torch.zeros(4, 4, 3, 3)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without, r"features\.8\.bias of the weights is missing, want \[7\]"),
        (with_batch_norm, r"features\.1\.running_mean of the weights is \[4\], want none"),
        (other_width, r"features\.6\.weight of the weights is \[6, 5, 5, 5\], want \[6, 5, 3, 3\]"),
        (other_bands, r"features\.0\.weight of the weights is \[4, 4, 3, 3\], want \[4, 3, 3, 3\]"),
    ],
)
def test_other_weights_are_refused_by_name_and_nothing_changes(spoil, told):
    state, theirs = imagenet(11, SMALL.channels)
    spoil(state)
    ours = Trunk(theirs.spec, 3)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(ModelError, match=told + r".*vgg11, without batch norm"):
        ours.load_imagenet(state)
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


@pytest.mark.parametrize(("bands", "colours"), [(2, (2, 1, 0)), (4, (0, 1, 1)), (4, (-1, 0, 1))])
def test_colours_without_a_band_are_refused(bands, colours):
    state, theirs = imagenet(11, SMALL.channels)
    with pytest.raises(ModelError, match=f"want three of 0 … {bands - 1}"):
        Trunk(theirs.spec, bands).load_imagenet(state, colours)
