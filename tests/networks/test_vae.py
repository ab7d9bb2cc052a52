import pytest
import torch
from torch.distributions import Normal, kl_divergence

from carbonmap.errors import ModelError
from carbonmap.networks.layers import parameters
from carbonmap.networks.rival_specs import TINY_VAE, VaeSpec
from carbonmap.networks.vae import LOG_DEVIATION, Latent, LatentHead, Recognition, Vae, divergence

SPEC = VaeSpec(3, (4, 6, 8), latent=2)


def vae(spec=SPEC, seed=0):
    torch.manual_seed(seed)
    return Vae(spec).eval()


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("widths", "draws", "recognises"),
    [(TINY_VAE, 1_779_089, 665_056), (VaeSpec(8).widths, 50_078_225, 18_867_600)],
)
def test_parameters_of_the_tiny_and_the_full_one(widths, draws, recognises):
    spec = VaeSpec(8, widths)
    with torch.device("meta"):
        assert parameters(Vae(spec)) == draws
    torch.manual_seed(0)
    if widths == TINY_VAE:  # a start on no device cannot be filled
        assert parameters(Recognition(spec)) == recognises


def test_the_divergence_is_torchs():
    q, p = (Latent(normal(5, 2, seed=s), normal(5, 2, seed=s + 9)) for s in (1, 2))
    want = kl_divergence(*(Normal(d.mean, d.log_deviation.exp()) for d in (q, p)))
    torch.testing.assert_close(divergence(q, p), want)
    assert divergence(q, q).abs().max() == 0


def test_a_latents_deviation_is_bounded_smoothly():
    head = LatentHead(1, 1)
    torch.nn.init.constant_(head.both.weight, 1.0)
    torch.nn.init.zeros_(head.both.bias)
    log = head(torch.tensor([-1e3, -0.1, 0.1, 1e3]).view(4, 1, 1, 1)).log_deviation.flatten()
    want = torch.tensor([-LOG_DEVIATION, -0.1, 0.1, LOG_DEVIATION])
    torch.testing.assert_close(log, want, rtol=1e-3, atol=0)


def test_a_sample_has_the_mean_and_deviation_of_its_latent():
    z = Latent(torch.tensor([1.0]), torch.tensor([2.0]).log()).sample(torch.tensor([-3.0, 0, 3]))
    torch.testing.assert_close(z, torch.tensor([-5.0, 1, 7]))


def test_a_map_reads_its_noise():
    network, x, noise = vae(), normal(2, 3, 16, 16), normal(2, 2, 4, 4, seed=2)
    with torch.no_grad():
        assert (network(x, noise) - network(x, -noise)).abs().max() > 1e-3


def test_a_place_has_the_same_z_and_map_in_two_tiles_that_hold_it():
    network, x, noise = vae(), normal(1, 3, 80, 80), normal(1, 2, 20, 20, seed=2)
    with torch.no_grad():
        whole, part = network(x, noise), network(x[..., 8:, 8:], noise[..., 2:, 2:])
    inner = 28  # pixels beyond which the edge's padding is not felt: 2 (1 + 2) + 4 × 4, rounded up
    got, want = (
        part[..., inner:-inner, inner:-inner],
        whole[..., 8:, 8:][..., inner:-inner, inner:-inner],
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_tile_does_not_depend_on_its_batch():
    network, x, noise = vae(), normal(3, 3, 8, 8), normal(3, 2, 2, 2, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x, noise)[1:2], network(x[1:2], noise[1:2]))


def test_recognition_reads_no_unknown_target():
    torch.manual_seed(0)
    network, x, y = Recognition(SPEC), normal(2, 3, 8, 8), normal(2, 1, 8, 8, seed=2)
    weight = torch.zeros(2, 1, 8, 8)
    weight[..., :4, :] = 1
    one = network.eval()(x, y, weight)
    y[weight == 0] = torch.nan
    for a, b in zip(one, network(x, y, weight), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    y[..., 0, 0] += 1
    assert (network(x, y, weight).mean - one.mean).abs().max() > 0


def test_a_tile_of_the_wrong_size_is_refused_by_name():
    with pytest.raises(ModelError, match=r"the VAE.*multiples of 4"):
        vae()(normal(1, 3, 8, 10), normal(1, 2, 2, 2))


def test_a_specification_survives_json():
    assert VaeSpec.from_json(SPEC.to_json()) == SPEC
    assert SPEC.stride == 4
    with pytest.raises(ValueError, match="kl_weight"):
        VaeSpec.from_json({"bands": 3, "kl_weight": 0.0})
