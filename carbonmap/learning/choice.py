"""Which specifications a user's settings mean: a preset, and single values that replace its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from carbonmap.diffusion import spec as diffusion
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError, nearest
from carbonmap.networks.presets import PRESETS, TABLE1, TABLE2
from carbonmap.networks.rival_specs import TINY_GAN, TINY_PATCH, TINY_VAE, GanSpec, VaeSpec
from carbonmap.networks.specs import IidmSpec, Spec, UnetSpec

S = TypeVar("S", bound=Spec)

UNETS = {
    "tiny": (24, 48, 96, 144),
    "small": (40, 80, 160, 320, 640),
    "paper": (64, 128, 256, 512, 1024),
}
"""Widths of the regression U-Net; 31 million parameters at the paper's scale."""

VAES = {"tiny": TINY_VAE, "small": (40, 80, 160, 320, 640), "paper": VaeSpec(1).widths}

GANS = {
    "tiny": (TINY_GAN, TINY_PATCH),
    "small": ((48, 96, 192, 384, 384), (64, 128, 256)),
    "paper": (GanSpec(1).widths, GanSpec(1).discriminator),
}
"""Widths of generator and discriminator."""

ROWS = {
    f"{table}:{row.name}{size}": make
    for table, rows in (("table1", TABLE1), ("table2", TABLE2))
    for row in rows
    for size, make in (("", row.spec), ("-tiny", row.tiny))
}
"""The rows of the paper's tables as presets of the IIDM, at the paper's scale and at `tiny`'s:
``table1:kd-vgg, attention-tiny``."""

PAPERS = ("paper", "idm", *(name for name in ROWS if not name.endswith("-tiny")))
"""Presets that learn noise by L1, as in the papers."""


def specs_for(
    kind: str,
    preset: str,
    bands: int,
    network: Mapping[str, Any],
    noise: Mapping[str, Any],
) -> dict[str, Spec]:
    """The specifications of a family, by the names that `checkpoint.families` gives them.

    Args:
        kind: the family.
        preset: a size; of the IIDM also ``idm`` and the rows of `ROWS`.
        bands: channels of the condition.
        network: values that replace the preset's in the network's specification; of
            ``iidm-residual``, in that of the residual.
        noise: likewise in the diffusion's.

    Raises:
        ModelError: there is no such preset, or a value is unknown or impossible.
    """
    if kind in ("iidm", "iidm-residual"):
        found = _denoiser(preset, bands + (kind == "iidm-residual"))
        denoiser = _changed(found, network, "model.network")
        spec = _changed(_diffusion(preset), noise, "model.diffusion")
        if kind == "iidm":
            return {"network": denoiser, "diffusion": spec}
        mean = UnetSpec(bands, _of(UNETS, preset, "iidm-residual"))
        return {"mean": mean, "residual": denoiser, "diffusion": spec}
    if noise:
        raise ModelError(f"`model.diffusion` is set, and {kind!r} has no diffusion; leave it out")
    return {"network": _changed(RIVALS[kind](preset, bands), network, "model.network")}


def _denoiser(preset: str, bands: int) -> IidmSpec:
    if preset in ROWS:
        return ROWS[preset](bands)
    return dataclasses.replace(_of(PRESETS, preset, "iidm"), bands=bands)


def _diffusion(preset: str) -> DiffusionSpec:
    """The papers' own for what is theirs, and for plain IDM at any size, which is known by it."""
    theirs = preset in PAPERS or preset.startswith("table2:IDM")
    return diffusion.PAPER if theirs else DiffusionSpec()


def _unet(preset: str, bands: int) -> UnetSpec:
    return UnetSpec(bands, _of(UNETS, preset, "unet"))


def _vae(preset: str, bands: int) -> VaeSpec:
    return VaeSpec(bands, _of(VAES, preset, "vae"))


def _gan(preset: str, bands: int) -> GanSpec:
    widths, discriminator = _of(GANS, preset, "gan")
    return GanSpec(bands, widths, discriminator=discriminator)


RIVALS: Mapping[str, Callable[[str, int], Spec]] = {"unet": _unet, "vae": _vae, "gan": _gan}
"""Families without diffusion."""

T = TypeVar("T")


def _of(table: Mapping[str, T], preset: str, kind: str) -> T:
    if preset not in table:
        raise ModelError(f"{kind!r} has no preset {preset!r}; {nearest(preset, table)}")
    return table[preset]


def _changed(spec: S, values: Mapping[str, Any], where: str) -> S:
    """A specification with some values replaced, checked as a whole."""
    held = spec.to_json()
    for key in values:
        if key not in held:
            raise ModelError(f"`{where}.{key}` is not known; {nearest(key, held)}")
    try:
        return type(spec).from_json(held | dict(values))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ModelError(f"`{where}` cannot be: {told}") from None
