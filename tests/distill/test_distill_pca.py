import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from carbonmap.distill.anatomy import taps_of
from carbonmap.distill.blockwise import feature_floor
from carbonmap.distill.channels import choose
from carbonmap.distill.covariance import Tap, centred, listening, observe
from carbonmap.distill.pca import eigenbasis, explained, explained_apart, fewest
from carbonmap.errors import ModelError
from carbonmap.networks.specs import UnetSpec, VggSpec
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import Trunk

SIDE = 12


def images(count, channels, seed=0):
    return torch.randn(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def looked(features, cuts=4):
    """Moments of given features, by way of a module that passes them on."""
    layer = nn.Identity().eval()
    return observe(layer, {"layer": Tap(layer)}, features.split(cuts))["layer"]


def mixed(rank, channels, seed=1):
    """Features of a known low-rank network, A z with z of `rank` channels, and A."""
    a = torch.randn(channels, rank, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("cr,brxy->bcxy", a, images(10, rank)), a


def stacked(features):
    """Every image's centred features side by side, (C, pixels), so scaled that their product with
    themselves is the mean covariance."""
    f = features.double().flatten(2)
    f = f - f.mean(2, keepdim=True)
    return (f / (f.shape[2] * len(f)) ** 0.5).transpose(0, 1).flatten(1).numpy()


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_a_low_rank_network_gives_up_its_rank_and_its_subspace(rank):
    features, a = mixed(rank, 10)
    moments = looked(features)
    basis = eigenbasis(moments)
    assert fewest(explained(basis, moments), 1 - 1e-9) == rank
    q = np.linalg.qr(a.double().numpy())[0]
    w = basis.w(rank).numpy()
    np.testing.assert_allclose(w.T @ w, q @ q.T, atol=1e-6)
    assert basis.floor(rank) < 1e-10 * moments.variance


def test_the_stream_equals_an_svd_of_all_features_at_once():
    features, _ = mixed(6, 6)
    features += 5 * images(10, 6, seed=3)[:, :, :1, :1]  # each image has a mean of its own
    basis = eigenbasis(looked(features))
    vectors, values, _ = np.linalg.svd(stacked(features), full_matrices=False)
    np.testing.assert_allclose(basis.variances.numpy(), values**2, rtol=1e-5)
    cosines = np.abs(np.sum(basis.directions.numpy() * vectors.T, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)


def test_neither_the_order_of_images_nor_how_they_are_cut_matters():
    features = mixed(8, 8)[0]
    one, other = looked(features, 10), looked(features.flip(0), 3)
    for name in ("covariance", "spread", "share", "spectrum", "mean", "active"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-12)
    torch.testing.assert_close(eigenbasis(one).directions, eigenbasis(other).directions)


def smooth(count, channels=3, side=32, seed=0):
    return F.interpolate(
        images(count, channels, seed)[..., : side // 4, : side // 4], scale_factor=4
    )


def a_trunk():
    return Trunk(VggSpec(11, (16, 32, 64, 64, 48, 48, 48, 48)), 3)


def a_unet():
    return Unet(UnetSpec(3, (8, 16, 32)))


def run(make):
    """A random network that has seen images, the features of its every layer on some, and their
    moments."""
    torch.manual_seed(0)
    network, found = make().train(), {}
    with torch.no_grad():
        for seed in range(20):
            network(smooth(4, seed=seed))
    seen = smooth(6, seed=99)
    moments = observe(network.eval(), taps_of(network), seen.split(4))
    with torch.no_grad(), listening(taps_of(network), found.__setitem__):
        network(seen)
    return network, found, moments


@pytest.mark.parametrize("make", [a_trunk, a_unet])
def test_all_of_the_variance_gives_every_layers_features_back(make):
    network, found, moments = run(make)
    choices = choose(network, moments, 1.0)
    assert len(choices) == (8 if make is a_trunk else 3 * 2 + 2 * 3)
    for choice in choices:
        features = centred(found[choice.name])
        w = eigenbasis(moments[choice.name]).w(choice.kept).float()
        again = torch.einsum("ec,ed,bdxy->bcxy", w, w, features)
        assert (again - features).abs().max() < 1e-4


@pytest.mark.parametrize("make", [a_trunk, a_unet])
def test_what_fewer_directions_lose_of_a_layers_features_is_the_floor(make):
    network, found, moments = run(make)
    for choice in choose(network, moments):
        features, basis = found[choice.name], eigenbasis(moments[choice.name])
        assert choice.kept < choice.channels
        floor = feature_floor(features, basis.w(choice.kept))
        assert floor.item() == pytest.approx(basis.floor(choice.kept), rel=1e-4)
        assert 0 < floor < 0.5 * moments[choice.name].variance


def test_explained_variance_is_the_mean_over_images_of_what_one_basis_holds_of_each():
    features = mixed(5, 8)[0] * torch.linspace(0.1, 9, 10)[:, None, None, None]
    features[:5, :4] *= 3
    moments = looked(features)
    basis = eigenbasis(moments)
    f = features.double().flatten(2)
    f = f - f.mean(2, keepdim=True)
    for c in range(1, 9):
        held = [(basis.w(c) @ x).square().sum() / x.square().sum() for x in f]
        assert explained(basis, moments)[c - 1].item() == pytest.approx(sum(held).item() / 10)


def test_equation_14_is_each_images_own_spectrum():
    features = images(3, 5) * torch.tensor([1.0, 2, 3, 4, 5])[:, None, None]
    f = features.double().flatten(2)
    own = [np.linalg.eigvalsh(np.cov(x.numpy(), bias=True))[::-1] for x in f]
    want = np.mean([np.cumsum(values) / values.sum() for values in own], axis=0)
    np.testing.assert_allclose(explained_apart(looked(features)).numpy(), want, rtol=1e-9)


def test_equation_14_promises_more_than_one_basis_keeps():
    features = mixed(5, 8)[0]
    features[::2] = features[::2].roll(3, dims=1)
    moments = looked(features)
    whole, apart = explained(eigenbasis(moments), moments), explained_apart(moments)
    assert (apart >= whole - 1e-12).all()
    assert (fewest(apart, 0.8), fewest(whole, 0.8)) == (3, 4)


def test_with_fewer_pixels_than_channels_the_spectrum_ends_at_the_pixels():
    features = torch.randn(3, 20, 2, 2, generator=torch.Generator().manual_seed(0))
    moments = looked(features)
    assert explained_apart(moments)[2].item() == pytest.approx(1)  # 4 pixels less their mean
    whole = explained(eigenbasis(moments), moments)
    assert fewest(whole, 1 - 1e-9) == 9  # three images of three directions each


def test_a_constant_image_counts_for_the_mean_covariance_and_for_no_share():
    features = images(4, 3)
    features[0] = 0.1
    moments = looked(features)
    alive = looked(features[1:])
    assert (moments.images, moments.varied) == (4, 3)
    torch.testing.assert_close(moments.share, alive.share)
    torch.testing.assert_close(moments.covariance, alive.covariance * 3 / 4)


def test_the_spread_is_the_covariance_of_all_pixels_of_all_images():
    features = images(6, 4) + 3 * images(6, 4, seed=8)[:, :, :1, :1]
    moments = looked(features)
    pixels = features.double().transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(moments.spread.numpy(), np.cov(pixels, bias=True), atol=1e-12)
    np.testing.assert_allclose(moments.active.numpy(), (pixels > 0).mean(1), atol=1e-12)


def test_the_fewest_channels_must_exceed_the_share():
    curve = torch.tensor([0.5, 0.75, 0.875, 1.0])
    assert [fewest(curve, v) for v in (0.4, 0.5, 0.75, 0.8, 1.0)] == [1, 2, 3, 3, 4]
    with pytest.raises(ModelError, match=r"85.*share"):
        fewest(curve, 85)


def test_a_tap_may_be_what_enters_a_module():
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1)).eval()
    taps = {"out": Tap(network[0]), "in": Tap(network[1], entering=True)}
    found = observe(network, taps, [images(2, 2)])
    torch.testing.assert_close(found["out"].covariance, found["in"].covariance)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (torch.zeros(2, 3), "shape"),
        (torch.full((1, 2, 4, 4), torch.nan), "NaN"),
    ],
)
def test_features_that_cannot_be_used_are_refused_by_name(features, says):
    with pytest.raises(ModelError, match=f"layer.*{says}"):
        looked(features)


def test_a_layer_that_learns_never_runs_or_is_dead_is_refused():
    layer = nn.Identity()
    with pytest.raises(ModelError, match="training mode"):
        observe(layer, {"a": Tap(layer)}, [images(1, 2)])
    layer.eval()
    with pytest.raises(ModelError, match="b never ran"):
        observe(layer, {"a": Tap(layer), "b": Tap(nn.Identity().eval())}, [images(1, 2)])
    constant = looked(torch.ones(2, 3, 4, 4))
    for curve in (explained_apart, lambda seen: explained(eigenbasis(seen), seen)):
        with pytest.raises(ModelError, match="constant"):
            curve(constant)
