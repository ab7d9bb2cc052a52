"""Names for the arrays that travel through carbonmap; shapes are given as ``(row, col)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

Plots = NDArray[np.float64]
"""One value per inventory polygon, shape ``(polygon,)``."""

Raster = NDArray[np.floating[Any]]
"""One value per pixel, shape ``(row, col)``; NaN is nodata."""

Bands = Mapping[str, Raster]
"""Named layers of one place, each ``(row, col)``, all on one grid."""

Json = dict[str, Any]
