"""OmniCloudMask: what is said without the package or its weights, and its real loading path."""

import importlib
import socket
import sys

import numpy as np
import pytest

from carbonmap.errors import GridMismatch, MissingInput, ModelError
from carbonmap.models import omnicloud
from carbonmap.models.omnicloud import NETWORKS, cloud_classes

SIZE = 96


def bands(size=SIZE):
    return [np.random.default_rng(k).random((size, size)).astype(np.float32) for k in range(3)]


@pytest.fixture
def empty_files(tmp_path):
    """A folder with files of the right names and nothing in them."""
    for name in NETWORKS:
        (tmp_path / name).touch()
    return tmp_path


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch, empty_files):
    for name in ("omnicloudmask", "omnicloudmask.model_utils"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match=r"pip install 'carbonmap\[clouds\]'"):
        cloud_classes(*bands(), empty_files)


def test_without_weights_the_error_names_the_file_and_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)
    (tmp_path / next(iter(NETWORKS))).touch()
    with pytest.raises(MissingInput, match=r"has no PM_model.*edgenext.*huggingface\.co"):
        cloud_classes(*bands(), tmp_path)


def test_importing_carbonmap_imports_neither_the_package_nor_torch():
    source = importlib.util.find_spec("carbonmap.models.omnicloud").loader.get_source(
        "carbonmap.models.omnicloud"
    )
    names = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert not any("torch" in name or "omnicloudmask" in name for name in names)


def test_bands_of_two_shapes_are_refused(tmp_path):
    red, green, nir = bands()
    with pytest.raises(GridMismatch, match=r"band nir .*\(95, 96\)"):
        cloud_classes(red, green, nir[1:], tmp_path)


def test_an_image_too_small_for_the_networks_is_refused(tmp_path):
    with pytest.raises(GridMismatch, match="32 rows and columns at least"):
        cloud_classes(*bands(31), tmp_path)


def package():
    """The real package, or a skip that says why there is none."""
    try:
        return importlib.import_module("omnicloudmask.model_utils")
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"omnicloudmask cannot be imported: {error}")


def draw_weights(folder):
    """Weights drawn by chance, in files as the real ones are."""
    package()
    import segmentation_models_pytorch as smp
    import torch
    from safetensors.torch import save_file

    for seed, (name, encoder) in enumerate(NETWORKS.items()):
        torch.manual_seed(seed)
        net = smp.Unet(encoder_name=encoder, encoder_weights=None, in_channels=3, classes=4)
        save_file(net.state_dict(), folder / name)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return draw_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_masks_are_the_argmax_of_the_mean_of_both_networks(weights):
    """Oracle: the networks called by hand on the one patch that the image is."""
    import torch

    load = package().load_model_from_weights
    nets = [load(e, weights / n, "smp", torch.device("cpu")) for n, e in NETWORKS.items()]
    image = np.stack(bands())
    mean, sd = (f(axis=(1, 2), keepdims=True) for f in (image.mean, image.std))
    patch = torch.from_numpy((image - mean) / sd)[None]
    with torch.no_grad():
        want = torch.stack([net(patch) for net in nets]).mean(0)[0].argmax(0).numpy()
    got = cloud_classes(*bands(), weights)
    assert len(np.unique(want)) > 1
    for number, mask in enumerate(got, 1):
        assert mask.dtype == bool
        assert np.mean(mask == (want == number)) > 0.999  # ties of rounding


@pytest.mark.usefixtures("no_network")
def test_nothing_is_said_where_a_band_is_missing(weights):
    red, green, nir = bands()
    green[10:20, 30:40] = np.nan
    assert not any(mask[10:20, 30:40].any() for mask in cloud_classes(red, green, nir, weights))
    nothing = np.full_like(red, np.nan)
    assert not any(mask.any() for mask in cloud_classes(nothing, green, nir, weights))


def test_a_file_that_holds_no_weights_is_named(empty_files):
    package()
    with pytest.raises(ModelError, match=r"regnety_004.*does not hold the weights"):
        cloud_classes(*bands(), empty_files)


def test_only_safetensors_are_ever_read():
    assert all(name.endswith(".safetensors") for name in omnicloud.NETWORKS)
