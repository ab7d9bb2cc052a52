"""How a network is distilled."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.distill.names import Method, Parts
from carbonmap.settings import STRICT

METHODS: tuple[str, ...] = get_args(Method)

PARTS: tuple[str, ...] = get_args(Parts)


@dataclass(frozen=True, config=STRICT)
class Distillation:
    """Settings of one distillation; how long the student is tuned afterwards is `Training`'s.

    Args:
        method: by which channels are found.
        variance: share of each layer's variance that its channels must exceed (IIDM 4.3).
        parts: that become smaller: the VGG that gives f⁰, the U-Net with all else that comes after
            f⁰, or both.
        patches: by which features are measured. The deepest layer of `tiny` sees 16 pixels of a
            patch: 512 patches are 40 times its channels.
        block_steps: batches by which each block learns its teacher's features before the whole is
            tuned. `tiny` has 23 blocks; the paper's ten epochs are for a random start.
        block_rate: learning rate of these at first; it falls to 0.
    """

    method: Method = "pca"
    variance: Annotated[float, Field(gt=0, le=1)] = 0.85
    parts: Parts = "both"
    patches: Annotated[int, Field(ge=1)] = 512
    block_steps: Annotated[int, Field(ge=0)] = 100
    block_rate: Annotated[float, Field(gt=0)] = 1e-3
