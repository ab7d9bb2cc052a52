"""Names of what can be distilled and how, apart from the code, which is slow to load."""

from __future__ import annotations

from typing import Literal

Method = Literal["pca"]
"""By which channels are found."""

Parts = Literal["vgg", "unet", "both"]
"""What becomes smaller: the trunk that gives f⁰, all that comes after f⁰, or both."""
