"""Forest-carbon density maps from images, terrain, canopy height and inventories.

In notebooks::

    stack = carbonmap.open_stack("archive", "huize")
    scene = carbonmap.open_scene("archive", "huize", "GF1_WFV3_E103.5_N26.4_20200815_L1A0004999999")
    density = carbonmap.open("maps/huize_2020-08_carbon_density.tif")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbonmap.lazy import open_map as open
    from carbonmap.lazy import open_scene as open_scene
    from carbonmap.lazy import open_stack as open_stack

__all__ = ["open", "open_scene", "open_stack"]


def __getattr__(name: str) -> Any:
    """Load what notebooks ask for when they do: commands need neither xarray nor dask."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from carbonmap import lazy

    return getattr(lazy, "open_map" if name == "open" else name)
