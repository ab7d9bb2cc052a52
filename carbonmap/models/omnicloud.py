"""Clouds and their shadows by OmniCloudMask's networks, an optional extra; nothing is downloaded.

Wright et al. (2025), package ``omnicloudmask`` (MIT). It was trained on other sensors of 10–50 m
and never checked on GF-1. Its own entry point fetches weights when they are missing; here the
networks are built without any and filled from files that the user has put in a folder.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap.errors import GridMismatch, MissingInput, ModelError
from carbonmap.types import Bool, Raster

NETWORKS = {
    "PM_model_OCM_7.97_R_G_NIR_3_smp_regnety_004.pycls_in1k_PT_state.safetensors": (
        "tu-regnety_004"
    ),
    "PM_model_OCM_7.97_R_G_NIR_3_smp_edgenext_small.usi_in1k_PT_state.safetensors": (
        "tu-edgenext_small"
    ),
}
"""Files of model version 4.0, the newest of omnicloudmask 1.8.1, and each one's encoder. Only these
are read: safetensors hold arrays and nothing that could run, unlike the pickles of version 1."""

WEIGHTS_FROM = "https://huggingface.co/NickWright/OmniCloudMask"
"""Where the package's own downloader fetches the files."""

PATCH_PX = 1000
"""Edge of the patches that the networks see; omnicloudmask's own."""

OVERLAP_PX = 300
"""Pixels that patches share, over which they fade into one another; omnicloudmask's own."""

SMALLEST_PX = 32
"""Least rows and columns that the networks can halve so often."""

THICK, THIN, SHADOW = 1, 2, 3
"""Classes of omnicloudmask; 0 is clear."""


def require(weights: Path) -> None:
    """Look for the package and the weights without loading either.

    Raises:
        MissingInput: a file of weights is not in the folder.
        ModelError: the package is not installed.
    """
    weight_files(weights)
    if find_spec("omnicloudmask") is None:
        raise _not_there("no such package")


def weight_files(folder: Path) -> list[Path]:
    """The files of `NETWORKS` in a folder.

    Raises:
        MissingInput: one is not there.
    """
    for name in NETWORKS:
        if not (folder / name).is_file():
            raise MissingInput(
                f"{folder} has no {name}; carbonmap downloads nothing, so get the files "
                f"{' and '.join(NETWORKS)} from {WEIGHTS_FROM} and put them there"
            )
    return [folder / name for name in NETWORKS]


def cloud_classes(
    red: Raster, green: Raster, nir: Raster, weights: Path, device: str = "cpu"
) -> tuple[Bool, Bool, Bool]:
    """Thick cloud, thin cloud and cloud shadow by the mean of two networks.

    Each patch is scaled by its own mean and spread, so no halo makes a tile equal the whole: give
    a scene at once, or cut it on a lattice that never changes, read with a halo of `OVERLAP_PX`.
    It takes about 40 bytes a pixel besides the networks.

    Args:
        red: reflectance or counts, ``(row, col)``; NaN is nodata.
        green: likewise.
        nir: likewise.
        weights: folder with the files of `NETWORKS`.
        device: torch's name of what computes, such as ``cpu`` or ``cuda``.

    Returns:
        Three masks, ``(row, col)``; none holds where a band is NaN.

    Raises:
        MissingInput: a file of weights is not in the folder.
        ModelError: the package is not installed, or a file does not hold its network's weights.
        GridMismatch: the bands' shapes differ, or are smaller than the networks can see.
    """
    for name, band in (("green", green), ("nir", nir)):
        if band.shape != red.shape:
            raise GridMismatch(f"band {name}", got=band.shape, want=red.shape)
    if min(red.shape) < SMALLEST_PX:
        raise GridMismatch(
            "the image",
            got=red.shape,
            want=f"{SMALLEST_PX} rows and columns at least",
            todo="read it with a wider halo",
        )
    networks = _networks(weights, device)
    image = np.stack([red, green, nir]).astype(np.float32)
    known: Bool = np.asarray(np.isfinite(image).all(axis=0))
    image[:, ~known] = np.nan
    if not known.any():
        return known, known.copy(), known.copy()
    patch = min(PATCH_PX, *red.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # patches made smaller for small images
        classes = _package("omnicloudmask").predict_from_array(
            image,
            patch_size=patch,
            patch_overlap=min(OVERLAP_PX, patch // 2),
            inference_device=device,
            no_data_value=np.nan,
            custom_models=networks,
        )[0]
    return (classes == THICK) & known, (classes == THIN) & known, (classes == SHADOW) & known


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except (ImportError, RuntimeError, OSError) as error:  # torchvision built for another torch
        raise _not_there(error) from error


def _not_there(why: object) -> ModelError:
    return ModelError(
        f"the cloud detector omnicloudmask cannot be imported ({why}); install it with "
        "`pip install 'carbonmap[clouds]'`, or use the threshold detector"
    )


def _networks(folder: Path, device: str) -> list[Any]:
    """Both networks with the folder's weights, on the device."""
    paths = weight_files(folder)
    load = _package("omnicloudmask.model_utils").load_model_from_weights
    on = _package("torch").device(device)
    return [
        _loaded(load, p, encoder, on) for p, encoder in zip(paths, NETWORKS.values(), strict=True)
    ]


def _loaded(load: Any, path: Path, encoder: str, device: Any) -> Any:
    try:
        return load(encoder, path, "smp", device)
    except Exception as error:  # safetensors, torch and timm each raise their own
        raise ModelError(
            f"{path} does not hold the weights of the network {encoder}: {error}; get it again "
            f"from {WEIGHTS_FROM}"
        ) from error
