"""What a diffusion is made of, as a frozen value: noise levels, what is learnt, how it is drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.settings import STRICT, Spec

Predicts = Literal["noise", "v", "clean"]
"""What the network's output means: ε, v = √γ ε − √(1−γ) y₀, or y₀ itself."""

Weighting = Literal["none", "clean", "min-snr"]
"""How much a noise level counts in the loss; see `DiffusionSpec`."""

Sampler = Literal["ddim", "ddpm", "dpm-solver++"]

MOST_LEVELS = 100_000
"""Fifty times the papers' T: a schedule is a table of them, which a model's card could ask for."""


@dataclass(frozen=True, config=STRICT)
class DiffusionSpec(Spec):
    """How noise is put on a map and taken off again.

    The defaults are the best by closed forms (see `schedules.sampling_gammas`); `PAPER` is IIDM's.

    Args:
        schedule: "linear" in β (IDM), or "cosine" in √γ (Nichol & Dhariwal 2021).
        levels: T, into how many the way to pure noise is cut.
        predicts: the network's output. The error of a noise prediction grows by 1/√γ in the map
            that follows from it, so "v" or "clean" suit the noisiest levels better.
        loss: "l1" as IIDM, eq. 4, or "l2". L1 learns medians: carbon is skewed, and totals suffer.
        weighting: "none" counts the error of what is predicted as it is; in units of the map's
            squared error a level then weighs SNR = γ/(1−γ) for noise, SNR + 1 for v, 1 for clean.
            "clean" makes that 1 and "min-snr" min(SNR, 5) (Hang et al. 2023), whatever is
            predicted. With an error of 0.2 in the map, levels of SNR < 1, where its mean is
            decided, make up 4 % of the loss by "none" on noise, 13–27 % on v, 59–80 % by "clean".
        sampler: see `samplers`.
        steps: of the sampler.
        spacing: of its levels in t, "quadratic" or "uniform"; see `schedules.sampling_gammas`.
        clip: hold each step's clean estimate within what a label can be.
        centre: of the labels, on the target's scale from −1 to 1: the map that is noised is
            ``y₀ = (target − centre) / spread``.
        spread: of the labels, likewise. The papers noise the target itself; where most land holds a
            tenth of the densest stand's carbon, its standard deviation is then a seventh of the
            noise's, and what tells one forest from another weighs next to nothing in the loss.
    """

    schedule: Literal["linear", "cosine"] = "cosine"
    levels: Annotated[int, Field(ge=100, le=MOST_LEVELS)] = 2000
    predicts: Predicts = "v"
    loss: Literal["l1", "l2"] = "l2"
    weighting: Weighting = "none"
    sampler: Sampler = "dpm-solver++"
    steps: Annotated[int, Field(ge=1)] = 20
    spacing: Literal["quadratic", "uniform"] = "quadratic"
    clip: bool = True
    centre: Annotated[float, Field(ge=-1, le=1)] = 0.0
    spread: Annotated[float, Field(gt=0)] = 1.0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest clean value; None where estimates are not clipped."""
        if not self.clip:
            return None
        return (-1 - self.centre) / self.spread, (1 - self.centre) / self.spread

    def __post_init__(self) -> None:
        if self.steps > self.levels:
            raise ValueError(
                f"`steps` is {self.steps}, more than the {self.levels} `levels`; take fewer steps"
            )
        if (self.predicts, self.weighting) == ("noise", "clean"):
            raise ValueError(
                '`weighting` "clean" of predicted noise weighs a level by (1 − γ)/γ, which has no '
                'bound; predict "v", or take "min-snr"'
            )


PAPER = DiffusionSpec(
    schedule="linear", predicts="noise", loss="l1", sampler="ddim", spacing="uniform"
)
"""IIDM, section 4.6 and eq. 4, with the schedule of IDM, on which it builds; 20 steps."""
