"""How long, how fast and in what portions networks learn."""

from __future__ import annotations

from math import cos, pi
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.settings import STRICT

WARMUP_SHARE = 0.1
"""Most of a run that goes into warming up, so that a short one learns at its full rate too."""

RATE = 2e-3
"""Learning rate of `tiny` networks, by which most have been trained."""

MOST_PX = 4096
"""Most that a patch's edge may be: our networks learn from 64 to 256, and one of 4096 already takes
gigabytes."""

Count = Annotated[int, Field(ge=1)]

Precision = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True, config=STRICT)
class Training:
    """Settings of one training run; the defaults suit `tiny` networks on a laptop.

    Args:
        steps: updates in all.
        minutes: time to learn in instead, from which the steps are told before the first: of the
            CPU, all threads together; on a GPU by the clock.
        batch: patches a step, over all ranks together.
        patch_px: edge of a patch; networks of five levels want a multiple of 16.
        learning_rate: of AdamW at its peak; None for what `learning.choice.rate_for` gives the
            family and size.
        warmup_steps: over which the rate rises to it; at most a tenth of the steps.
        weight_decay: of AdamW, on weights with more than one dimension.
        clip_norm: most that the norm of a part's gradients may be.
        ema: share of the averaged weights that a step keeps, once past its warm-up.
        precision: of the convolutions; "auto" is bfloat16 on GPUs that have it, else float32.
        threads: of the CPU; a fixed number, since sums round by it: what any laptop has.
        validate_every: steps between validations by sampling.
        patience: validations without a better one after which it stops; None for never.
        checkpoint_every: steps between states saved for resumption.
    """

    steps: Count = 5_000
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch: Count = 8
    patch_px: Annotated[int, Field(ge=1, le=MOST_PX)] = 64
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    precision: Precision = "auto"
    threads: Count = 2
    validate_every: Count = 1_000
    patience: Count | None = None
    checkpoint_every: Count = 250

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise, then half a cosine that ends just above 0.

            η_k = η (k + 1) / w                                          k < w
            η_k = η (1 + cos(π (k − w) / (n − w))) / 2                   else

        of n steps, w of them warming up (Goyal et al. 2017, section 2.2), then one period of
        Loshchilov & Hutter 2017 (SGDR, eq. 5); 0 would come a step after the last.

        Args:
            step: from 0.
        """
        peak = self.learning_rate or RATE
        warm = min(self.warmup_steps, int(WARMUP_SHARE * self.steps))
        if step < warm:
            return peak * (step + 1) / warm
        turn = (step - warm) / (self.steps - warm)
        return peak * (1 + cos(pi * turn)) / 2
