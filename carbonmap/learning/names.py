"""Names of what can be trained, apart from the code that builds it, which is slow to load."""

from __future__ import annotations

from typing import Literal

Family = Literal["iidm", "iidm-residual", "unet", "vae", "gan"]
"""The IIDM, of which IDM is a preset; the same on the residual of a regression, as CorrDiff does;
and its rivals: a regression U-Net, a conditional VAE and pix2pix."""

Storage = Literal["float32", "bfloat16", "float16"]
"""Of weights on the disk; they compute in float32 whatever it is."""
