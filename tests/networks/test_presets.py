import math
from itertools import product

import pytest
import torch

from carbonmap.errors import ModelError
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.layers import parameters
from carbonmap.networks.presets import (
    DISTILLED,
    FULL,
    PRESETS,
    TABLE1,
    TABLE2,
    channels_of,
    kd_vgg,
    preset,
)
from carbonmap.networks.specs import VggSpec

BANDS = 8
"""Four of GF-1, height and two of slope, and whether they are known."""


def counted(spec):
    """Parameters of the whole network and of its f⁰, without memory for any."""
    with torch.device("meta"):
        net = Iidm(spec)
    return parameters(net), parameters(net.features)


@pytest.mark.parametrize(
    ("name", "whole", "features"),
    [
        ("tiny", 2_369_081, 147_880),
        ("small", 15_377_433, 933_312),
        ("paper", 23_835_928, 2_338_371),
        ("idm", 46_288_321, 41_728),
        ("idm-tiny", 2_928_577, 3_520),
    ],
)
def test_a_preset_has_so_many_parameters(name, whole, features):
    assert counted(preset(name, BANDS)) == (whole, features)


def test_the_papers_trunks_f0_is_its_convolutions_and_one_lateral_each():
    """2,311,288 are listed for three bands (REFERENCES); five more bands, laterals, one bias."""
    laterals = 64 * (34 + 79 + 154 + 123 + 16) + 64
    assert counted(preset("paper", BANDS))[1] == 2_311_288 + 5 * 9 * 23 + laterals


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_a_step(name):
    torch.manual_seed(0)
    net = Iidm(preset(name, 2))
    noise = torch.randn(2, 1, 32, 32)
    (
        net(torch.randn(2, 2, 32, 32), noise, torch.tensor([0.2, 0.9])) - noise
    ).abs().mean().backward()
    assert net.last.weight.grad.abs().max() > 0


def test_idm_tiny_has_the_blocks_of_idm_and_the_norm_of_tiny():
    large, small, tiny = (preset(name, 3) for name in ("idm", "idm-tiny", "tiny"))
    for name in ("vgg", "block", "blocks", "fusion", "upsampling", "heads", "dropout"):
        assert getattr(small, name) == getattr(large, name)
    assert len(small.widths) == len(large.widths)
    assert [wide / few for wide, few in zip(large.widths, small.widths, strict=True)] == [4] * 5
    for name in ("norm", "features", "hidden", "embedding"):
        assert getattr(small, name) == getattr(tiny, name)


def test_presets_differ_in_bands_alone_for_another_condition_and_unknown_ones_are_named():
    assert preset("tiny", 3).bands == 3
    assert preset("tiny", 3) != preset("tiny", 4)
    assert set(PRESETS) == {"tiny", "small", "paper", "idm", "idm-tiny"}
    with pytest.raises(ModelError, match="did you mean 'paper'"):
        preset("papper", 3)


def test_table_1_is_every_combination_once_in_the_order_of_the_papers_errors():
    assert [row.rmse for row in TABLE1] == [
        0.1670, 0.1697, 0.1680, 0.1692, 0.1684, 0.1670,
        0.1363, 0.1229, 0.1211, 0.1288, 0.1217, 0.1306,
    ]  # fmt: skip
    held = [(row.vgg, row.widths, row.fusion) for row in TABLE1]
    trunks, fusions = (None, VggSpec(19), kd_vgg(19)), ("concatenation", "attention")
    assert len(held) == 12
    assert set(held) == set(product(trunks, (FULL, DISTILLED), fusions))
    for row in TABLE1:
        assert ("kd-unet" in row.name) == (row.widths == DISTILLED)
        assert ("attention" in row.name) == (row.fusion == "attention")
        assert ("kd-vgg" in row.name) == (row.vgg == kd_vgg(19))


COUNTS = {
    "mask": (38_353_025, 1_951_345),
    "vgg": (58_432_833, 2_264_817),
    "vgg, kd-unet": (38_476_173, 1_266_005),
    "kd-vgg": (40_649_668, 1_992_397),
    "kd-vgg, kd-unet": (20_693_008, 993_585),
    "kd-unet": (18_396_365, 952_533),
    "attention": (44_998_145, 2_224_721),
    "vgg, attention": (65_077_953, 2_538_193),
    "vgg, kd-unet, attention": (41_619_093, 1_395_745),
    "kd-vgg, attention": (47_294_788, 2_265_773),
    "kd-vgg, kd-unet, attention": (23_835_928, 1_123_325),
    "kd-unet, attention": (21_539_285, 1_082_273),
    "IDM-VGG-11": (55_564_225, 2_799_145),
    "IDM-KD-VGG-11": (47_423_688, 2_675_685),
    "IDM-VGG-16": (61_058_433, 2_885_153),
    "IDM-KD-VGG-16": (47_822_497, 2_682_169),
    "IDM-VGG-19": (66_368_129, 2_968_257),
    "IDM-KD-VGG-19": (48_584_964, 2_695_837),
    "IDM-UNet": (38_353_025, 1_951_345),
    "IDM-KD-UNet": (18_396_365, 952_533),
    "Ours-KD-VGG-11": (22_674_652, 1_103_173),
    "Ours-KD-VGG-16": (23_073_461, 1_109_657),
    "Ours-KD-VGG-19": (23_835_928, 1_123_325),
}
"""At the paper's scale and at that of `tiny`."""


@pytest.mark.parametrize("row", [*TABLE1, *TABLE2], ids=lambda row: row.name)
def test_a_row_has_so_many_parameters(row):
    found = counted(row.spec(BANDS))[0], counted(row.tiny(BANDS))[0]
    assert found == COUNTS[row.name]


LARGEST = {"paper": TABLE1[7], "idm": TABLE2[4]}
"""VGG-19 with the whole of the paper's U-Net and attention, and with IDM's."""


@pytest.mark.parametrize("base", LARGEST)
def test_the_largest_row_of_each_base_learns_at_the_papers_scale(base):
    """A step so long that, were the loss straight, it would fall by a tenth."""
    torch.manual_seed(0)
    net = Iidm(LARGEST[base].spec(2))
    torch.nn.init.normal_(net.last.weight, std=0.05)  # at its start, zero, no gradient passes it
    x, y, gamma = torch.randn(2, 2, 32, 32), torch.randn(2, 1, 32, 32), torch.tensor([0.2, 0.9])

    def loss():
        torch.manual_seed(1)  # of dropout
        return (net(x, y, gamma) - y).square().mean()

    before = loss()
    before.backward()
    slopes = {name: p.grad.square().sum().item() for name, p in net.named_parameters()}
    assert [name for name, slope in slopes.items() if not 0 < slope < math.inf] == []
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * before / sum(slopes.values()) * p.grad
        assert loss() / before == pytest.approx(0.9, abs=0.05)


def test_the_largest_row_of_each_base_is_that_of_most_parameters():
    for base, row in LARGEST.items():
        others = [other for other in (*TABLE1, *TABLE2) if other.base == base]
        assert row in others
        assert COUNTS[row.name] == max(COUNTS[other.name] for other in others)


def test_the_best_row_of_table_2_is_the_preset_and_a_row_of_table_1():
    ours, ablated = TABLE2[-1], TABLE1[10]
    assert ours.spec(5) == ablated.spec(5) == preset("paper", 5)
    assert ours.rmse == ablated.rmse


def test_tinys_full_u_net_is_the_presets_own_and_the_distilled_one_keeps_the_papers_ratio():
    tiny = preset("tiny", 5)
    assert TABLE1[7].tiny(5).widths == tiny.widths
    assert counted(tiny)[0] <= 2_400_000
    small = TABLE1[10].tiny(5).widths
    assert small == (12, 24, 44, 88, 132)
    assert [few / all_ for few, all_ in zip(small, tiny.widths, strict=True)] == pytest.approx(
        [44 / 64] * 5, abs=0.07
    )


def test_a_distilled_trunk_has_as_many_convolutions_as_its_teacher():
    for depth, last in ((11, (57, 57)), (16, (13, 13)), (19, (36, 16))):
        listed = channels_of(kd_vgg(depth))
        full = channels_of(VggSpec(depth))
        assert len(listed) == len(full) == depth - 3
        assert listed[-2:] == last
        assert all(few < all_ for few, all_ in zip(listed, full, strict=True))
