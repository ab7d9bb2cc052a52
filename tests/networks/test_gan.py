import pytest
import torch

from carbonmap.errors import ModelError
from carbonmap.networks.gan import PatchDiscriminator, PixGenerator
from carbonmap.networks.layers import parameters
from carbonmap.networks.rival_specs import TINY_GAN, TINY_PATCH, GanSpec

SPEC = GanSpec(3, (4, 6, 8), noise=2, discriminator=(4, 6))


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(spec=SPEC):
    torch.manual_seed(0)
    return PixGenerator(spec).eval()


def discriminator(spec=SPEC):
    torch.manual_seed(0)
    return PatchDiscriminator(spec).eval()


def test_parameters_are_those_that_pix2pix_publishes():
    """54.414 million (3 channels in and out) and 2.769 million (6 in)."""
    with torch.device("meta"):
        drawn = parameters(PixGenerator(GanSpec(2)))  # 2 bands and 1 of noise
        judge = parameters(PatchDiscriminator(GanSpec(4)))  # 4 bands, a map, its weight
    assert drawn == 54_409_857
    assert round((drawn + 2 * (64 * 2 * 16 + 1)) / 1e6, 3) == 54.414  # two more maps out
    assert judge == 2_768_705


def test_parameters_of_the_tiny_one():
    spec = GanSpec(8, TINY_GAN, discriminator=TINY_PATCH)
    with torch.device("meta"):
        assert parameters(PixGenerator(spec)) == 1_956_457
        assert parameters(PatchDiscriminator(spec)) == 171_425


@pytest.mark.parametrize(
    ("widths", "edge"), [((64, 128, 256, 512), 70), ((4, 6), 16), (TINY_PATCH, 34)]
)
def test_a_judgement_sees_a_patch_of_the_stated_edge(widths, edge):
    spec = GanSpec(1, (2, 2), discriminator=widths if edge < 70 else (2, 2, 2, 2))
    assert spec.patch == edge
    network = discriminator(spec)
    image = torch.zeros(1, 1, 128, 128, requires_grad=True)
    known = torch.ones(1, 1, 128, 128)
    answer = network(known, image, known)
    middle = answer.shape[-1] // 2
    answer[0, 0, middle, middle].backward()
    for axis in (2, 3):
        touched = image.grad.abs().amax((0, 1, 5 - axis)).nonzero().flatten()
        assert touched[-1] - touched[0] + 1 == edge


def test_patches_seen_are_those_in_which_a_known_pixel_moves_the_answer():
    network, x, y = discriminator(), normal(1, 3, 32, 32), normal(1, 1, 32, 32, seed=2)
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 5:9, 20:23] = 1
    with torch.no_grad():
        moved = network(x, y, weight) != network(x, y + 0.5, weight)
    assert 0 < moved.sum() < moved.numel()
    assert torch.equal(network.seen(weight).bool(), moved)


def test_the_discriminator_reads_no_unknown_pixel():
    network, x, y = discriminator(), normal(1, 3, 16, 16), normal(1, 1, 16, 16, seed=2)
    weight = (normal(1, 1, 16, 16, seed=3) > 0).float()
    other = torch.where(weight > 0, y, torch.nan)
    torch.testing.assert_close(network(x, y, weight), network(x, other, weight), rtol=0, atol=0)


def test_a_draw_is_bounded_follows_its_noise_and_ignores_its_batch():
    network, x, noise = generator(), normal(3, 3, 16, 16), normal(3, 2, 16, 16, seed=2)
    with torch.no_grad():
        drawn = network(x, noise)
        assert drawn.shape == (3, 1, 16, 16)
        assert drawn.abs().max() <= 1
        assert network(1e4 * x, noise).abs().max() <= 1
        assert not torch.equal(drawn, network(x, -noise))
        torch.testing.assert_close(drawn[1:2], network(x[1:2], noise[1:2]))


def test_one_tile_of_one_pixel_at_the_deepest_level_can_learn():
    network = generator().train()
    network(normal(1, 3, 8, 8), normal(1, 2, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_weights_start_as_the_paper_says():
    network = generator(GanSpec(3, (16, 32, 32)))
    convolutions = [p for p in network.parameters() if p.ndim == 4]
    for p in convolutions:
        assert p.std().item() == pytest.approx(0.02, rel=0.15)
        assert abs(p.mean().item()) < 0.002
    assert network.last[1].bias.abs().max() == 0


def test_a_tile_of_the_wrong_size_is_refused_by_name():
    with pytest.raises(ModelError, match=r"the GAN.*multiples of 8"):
        generator()(normal(1, 3, 16, 20), normal(1, 2, 16, 20))


def test_a_specification_survives_json():
    assert GanSpec.from_json(SPEC.to_json()) == SPEC
    assert (SPEC.stride, GanSpec(3).stride) == (8, 256)
    with pytest.raises(ValueError, match="at least 2 items"):
        GanSpec(3, (4,))
