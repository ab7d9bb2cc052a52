"""Forest-carbon density maps from images, terrain, canopy height and inventories.

In notebooks::

    stack = carbonmap.open_stack("archive", "huize")
    density = carbonmap.open("maps/huize_2020-08_carbon_density.tif")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbonmap.lazy import open_map as open
    from carbonmap.lazy import open_stack as open_stack

__all__ = ["open", "open_stack"]


def __getattr__(name: str) -> Any:
    """Load what notebooks ask for when they do: commands need neither xarray nor dask."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from carbonmap import lazy

    return lazy.open_map if name == "open" else lazy.open_stack
