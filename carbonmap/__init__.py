"""Forest-carbon density maps from images, terrain, canopy height and inventories.

In notebooks::

    stack = carbonmap.open_stack("archive", "huize")
    density = carbonmap.open("maps/huize_2020-08_carbon_density.tif")
"""

from carbonmap.lazy import open_map as open
from carbonmap.lazy import open_stack as open_stack

__all__ = ["open", "open_stack"]
