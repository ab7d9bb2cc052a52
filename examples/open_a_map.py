"""Open a finished map and its region's layers as Datasets, and ask them simple things.

    python examples/open_a_map.py [PROJECT [MAP]]

PROJECT is a folder with `carbonmap.toml`, `demo` by default, which `make demo` fills; MAP a map in
it, `maps/demo_2020-11_carbon_density.tif` by default.
"""

import sys
from pathlib import Path

import carbonmap
from carbonmap import config

DEMO = ["demo", "maps/demo_2020-11_carbon_density.tif"]


def main(folder, name):
    """Print mean densities of the map, by band of elevation."""
    project = config.load(folder / config.FILE)
    density = carbonmap.open(folder / name)["carbon_density"].squeeze("time", drop=True)
    stack = carbonmap.open_stack(project.archive, project.default_region)
    print(f"{name}: mean {float(density.mean()):.1f} {density.attrs['units']}")
    elevation = stack["elevation"]
    for low in range(500, 4500, 500):
        here = density.values[((elevation >= low) & (elevation < low + 500)).values]
        if here.size:
            print(f"  {low:>5}-{low + 500} m: {here[here == here].mean():7.1f} Mg C/ha")


if __name__ == "__main__":
    folder, name = (sys.argv[1:] + DEMO[len(sys.argv) - 1 :])[:2]
    main(Path(folder), name)
