from dataclasses import replace

import pytest
import torch
from torch import nn

from carbonmap.errors import ModelError
from carbonmap.networks.attention import CrossAttention
from carbonmap.networks.fold import folded
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.implicit import ImplicitUpsample
from carbonmap.networks.presets import TABLE1, TABLE2, preset
from carbonmap.networks.specs import IidmSpec, VggSpec

VGG = VggSpec(11, (4, 4, 4, 4, 4, 4, 4, 4))

SMALL = IidmSpec(
    bands=3,
    vgg=None,
    features=6,
    widths=(4, 6, 8),
    norm="channel",
    attention_stride=4,
    hidden=8,
    embedding=8,
)

SWITCHES = {
    "as it is": {},
    "vgg": {"vgg": VGG},
    "batch": {"norm": "batch"},
    "renorm": {"norm": "renorm"},
    "group": {"norm": "group"},
    "none": {"norm": "none"},
    "concatenation": {"fusion": "concatenation"},
    "attention nowhere": {"attention_stride": 8},
    "two heads": {"heads": 2},
    "transposed": {"upsampling": "transposed"},
    "two blocks": {"blocks": 2},
    "residual": {"block": "residual", "blocks": 2},
    "residual, batch": {"block": "residual", "norm": "batch"},
    "residual, renorm": {"block": "residual", "norm": "renorm"},
    "dropout": {"dropout": 0.2},
    "one level": {"widths": (4,)},
}


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(bands=3, batch=2, rows=32, cols=32):
    gamma = torch.linspace(0.2, 0.9, batch)
    return drawn(batch, bands, rows, cols), drawn(batch, 1, rows, cols, seed=2), gamma


def trained(spec, steps=2, rate=1e-3):
    """A network after some steps towards noise, and what never received a gradient in them or
    right after."""
    torch.manual_seed(0)
    net = Iidm(spec)
    moved = dict.fromkeys((name for name, _ in net.named_parameters()), False)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    x, y, gamma = inputs(spec.bands)
    for step in range(steps + 1):
        optimiser.zero_grad()
        (net(x, y, gamma) - drawn(*y.shape, seed=3)).square().mean().backward()
        for name, p in net.named_parameters():
            moved[name] |= p.grad is not None and bool(p.grad.abs().max() > 0)
        if step < steps:
            optimiser.step()
    return net.eval(), [name for name, has in moved.items() if not has]


@pytest.fixture(scope="module")
def small():
    return trained(SMALL, steps=4, rate=1e-2)[0]


@pytest.mark.parametrize("changes", SWITCHES.values(), ids=SWITCHES)
def test_no_parameter_stays_without_a_gradient_and_the_shape_is_the_maps(changes):
    spec = replace(SMALL, **changes)
    net, dead = trained(spec)
    assert dead == []
    with torch.no_grad():
        assert net(*inputs(rows=16, cols=48)).shape == (2, 1, 16, 48)


@pytest.mark.parametrize("row", [*TABLE1, *TABLE2], ids=lambda row: row.name)
def test_every_row_of_the_papers_tables_learns_with_all_of_its_parameters(row):
    assert trained(row.tiny(bands=3))[1] == []


def test_training_begins_at_zero():
    assert not Iidm(SMALL)(*inputs()).any()


def test_a_step_with_features_made_before_is_the_whole_network(small):
    x, y, gamma = inputs()
    with torch.no_grad():
        features = small.condition(x)
        torch.testing.assert_close(small.denoise(features, y, gamma), small(x, y, gamma))
    assert [f.shape[1:] for f in features] == [(6, 32, 32), (6, 16, 16), (8, 8, 8)]


def test_draws_of_one_tile_share_its_features_and_do_not_see_each_other(small):
    x, y, gamma = inputs(batch=3)
    with torch.no_grad():
        features = small.condition(x[:1])
        whole = small.denoise(features, y, gamma)
        alone = [small.denoise(features, y[k : k + 1], gamma[k : k + 1]) for k in range(3)]
        copied = small.denoise([f.repeat(3, 1, 1, 1) for f in features], y, gamma)
    torch.testing.assert_close(whole, torch.cat(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(whole, copied, rtol=0, atol=1e-5)


def test_condition_noisy_map_and_noise_level_all_count(small):
    x, y, gamma = inputs()
    with torch.no_grad():
        was = small(x, y, gamma)
        for changed in ((x + 0.1, y, gamma), (x, y + 0.1, gamma), (x, y, gamma / 2)):
            assert (small(*changed) - was).abs().max() > 1e-3


def test_memory_layout_changes_rounding_alone(small):
    x, y, gamma = inputs()
    last = torch.channels_last
    with torch.no_grad():
        want = small(x, y, gamma)
        got = small(x.to(memory_format=last), y.to(memory_format=last), gamma)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def reached(spec):
    """Pixels of the answer that change with the first pixel of the condition."""
    net, _ = trained(replace(spec, widths=(4, 6)))
    x, y, gamma = inputs(batch=1, rows=64, cols=64)
    other = x.clone()
    other[:, :, 0, 0] += 1
    with torch.no_grad():
        return (net(other, y, gamma) - net(x, y, gamma))[0, 0] != 0


def test_without_attention_and_group_norm_a_pixel_depends_on_its_neighbours_alone():
    """Two levels reach 2 + 2 pixels (x, then the first block) + 2 · (1 + 2) + 2 + 1: below 16."""
    assert not reached(SMALL)[16:, 16:].any()
    assert not reached(replace(SMALL, norm="batch"))[16:, 16:].any()
    assert reached(replace(SMALL, norm="group"))[16:, 16:].any()
    assert reached(replace(SMALL, attention_stride=2))[16:, 16:].any()


def test_attention_stands_where_pixels_are_coarse_enough_and_nowhere_else():
    def attending(**changes):
        net = Iidm(replace(SMALL, widths=(4, 4, 4, 4, 4), **changes))
        return [
            2 ** (4 - place)
            for place, rise in enumerate(net.decoder)
            if any(isinstance(m, CrossAttention) for m in rise.modules())
        ]

    assert attending(attention_stride=8) == [16, 8]
    assert attending(attention_stride=2) == [16, 8, 4, 2]
    assert attending(attention_stride=32) == []
    assert attending(fusion="concatenation") == []


def test_upsampling_is_by_one_kind_alone():
    for name, kind in (("implicit", ImplicitUpsample), ("transposed", nn.ConvTranspose2d)):
        net = Iidm(replace(SMALL, upsampling=name))
        assert [type(rise.up) for rise in net.decoder] == [kind, kind]


def test_every_batch_norm_of_double_blocks_folds_into_its_convolution():
    net, _ = trained(replace(SMALL, norm="batch", vgg=VGG), steps=8, rate=1e-2)
    fast = folded(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    with torch.no_grad():
        want = net(*inputs())
        torch.testing.assert_close(fast(*inputs()), want, rtol=0, atol=1e-5)
    assert want.std() > 1e-2


def test_dropout_acts_when_it_learns_and_not_when_it_predicts():
    net, _ = trained(replace(SMALL, dropout=0.5))
    with torch.no_grad():
        assert torch.equal(net(*inputs()), net(*inputs()))
        net.train()
        assert not torch.equal(net(*inputs()), net(*inputs()))


@pytest.mark.parametrize(
    ("vgg", "rows", "cols", "multiple"), [(None, 32, 30, 4), (VGG, 24, 32, 16)]
)
def test_a_tile_that_cannot_be_halved_is_refused(vgg, rows, cols, multiple):
    net = Iidm(replace(SMALL, vgg=vgg))
    assert net.multiple == multiple
    with pytest.raises(ModelError, match=f"{rows} × {cols} pixels.* multiples of {multiple}"):
        net(*inputs(rows=rows, cols=cols))


def test_inputs_that_do_not_fit_are_refused_by_name(small):
    x, y, gamma = inputs()
    features = small.condition(x)
    with pytest.raises(ModelError, match=r"condition has 4 bands.* made for 3"):
        small(drawn(2, 4, 32, 32), y, gamma)
    for wrong in (y[:, :, :16], y.repeat(1, 2, 1, 1), y.repeat(2, 1, 1, 1)):
        with pytest.raises(ModelError, match="the noisy map is"):
            small.denoise(features, wrong, torch.full((len(wrong),), 0.5))
    for wrong in (gamma[:1], gamma[:, None], torch.tensor(0.5)):
        with pytest.raises(ModelError, match="gamma is"):
            small.denoise(features, y, wrong)


def test_heads_that_do_not_divide_an_attending_width_are_refused():
    assert replace(SMALL, heads=3, attention_stride=8).heads == 3
    with pytest.raises(ValueError, match=r"`heads` is 3.*\[8\]"):
        replace(SMALL, heads=3)


def test_a_specification_survives_being_written():
    for spec in (SMALL, preset("tiny", 5), preset("idm", 5)):
        assert IidmSpec.from_json(spec.to_json()) == spec
