"""Which specifications a user's settings mean: a preset, and single values that replace its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from carbonmap.diffusion import spec as diffusion
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError, nearest
from carbonmap.learning.settings import RATE
from carbonmap.networks.presets import PRESETS, TABLE1, TABLE2
from carbonmap.networks.rival_specs import TINY_GAN, TINY_PATCH, TINY_VAE, GanSpec, VaeSpec
from carbonmap.networks.specs import IidmSpec, UnetSpec
from carbonmap.settings import Spec

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

RATES = {"small": 5e-4, "paper": 1e-4, "idm": 1e-4}
"""Learning rates of the larger sizes: IDM's and SR3's for theirs, and one between."""

DEVIATION = 1.0
"""Of the maps that an IIDM noises. Of networks that had learned for four CPU minutes on a simulated
county, whose labels have 0.14 on the papers' scale, the held-out RMSE was 42.0 Mg C/ha as they are,
and 40.0, 35.5, 34.7 and 39.5 brought to 0.25, 0.5, 1 and 2."""

GAN_RATE = 2e-4
"""Of both of pix2pix's networks, as in its paper (section 3.3): larger ones unbalance them."""

PAPERS = ("paper", "idm", *(name for name in ROWS if not name.endswith("-tiny")))
"""Presets that learn noise by L1, as in the papers."""


def rate_for(kind: str, preset: str) -> float:
    """Learning rate that suits a family and a size, where a user gives none."""
    if kind == "gan":
        return GAN_RATE
    size = "paper" if preset in PAPERS and preset not in RATES else preset
    return RATES.get(size, RATE)


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
        if (spec.centre, spec.spread) != (0, 1):
            raise ModelError(
                "`model.diffusion` has a centre or a spread, which are of labels, and "
                '"iidm-residual" noises what its mean leaves of them, on a scale of its own; leave '
                "both out"
            )
        mean = UnetSpec(bands, _of(UNETS, preset, "iidm-residual"))
        return {"mean": mean, "residual": denoiser, "diffusion": spec}
    if noise:
        raise ModelError(f"`model.diffusion` is set, and {kind!r} has no diffusion; leave it out")
    return {"network": _changed(RIVALS[kind](preset, bands), network, "model.network")}


def standardised(
    kind: str, preset: str, noise: Mapping[str, Any], mean: float, deviation: float
) -> dict[str, Any]:
    """Values of the diffusion's specification, with the labels' centre and spread where none is
    given: an IIDM's, but for the papers' own. What is noised has a standard deviation of
    `DEVIATION`.

    Args:
        kind: the family.
        preset: the size.
        noise: as of `specs_for`.
        mean: of the labels, on the target's scale from −1 to 1.
        deviation: their standard deviation, likewise.
    """
    if kind != "iidm" or _diffusion(preset) == diffusion.PAPER or deviation <= 0:
        return dict(noise)
    return {"centre": mean, "spread": deviation / DEVIATION} | dict(noise)


def _denoiser(preset: str, bands: int) -> IidmSpec:
    if preset in ROWS:
        return ROWS[preset](bands)
    if preset.startswith("table"):
        raise ModelError(f"{preset!r} is no row of the paper's tables; {nearest(preset, ROWS)}")
    return dataclasses.replace(_of(PRESETS, preset, "iidm"), bands=bands)


def _diffusion(preset: str) -> DiffusionSpec:
    """The papers' own for what is theirs, and for plain IDM at any size, which is known by it."""
    theirs = preset in PAPERS or preset.startswith(("table2:IDM", "idm"))
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
        raise ModelError("; ".join(_fault(where, dict(e)) for e in error.errors())) from None


def _fault(where: str, fault: Mapping[str, Any]) -> str:
    """What is wrong with a value, by its full name."""
    name = ".".join((where, *map(str, fault["loc"])))
    if fault["type"] == "value_error":
        return f"`{name}` cannot be: {fault['ctx']['error']}"
    told = str(fault["msg"]).replace("Input", "it", 1)
    return f"`{name}` is {fault['input']!r}; {told}"
