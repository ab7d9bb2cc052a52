"""Draw the pictures of the README from a finished demo: the map and the legend that QGIS shows.

python examples/draw_readme_pictures.py demo docs
"""

import sys
from pathlib import Path

from carbonmap.io import figures, maps, style
from carbonmap.project import Output


def main(demo, docs):
    """Draw both."""
    path = next((demo / "maps").glob("*_carbon_density.tif"))
    low, high = Output().style_range_mg_c_ha
    values, bounds, _ = maps.overview(path)
    told = maps.require_whole(path)["report"]
    title = f"{path.stem}: {told['tags']['CARBONMAP_POOLS']}"
    label = "carbon density, Mg C/ha"
    figures.draw_map(docs / "demo_map.png", values, bounds, (low, high), title, label, "Albers")
    figures.draw_legend(docs / "legend.png", style.stops(low, high), "Mg C/ha")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
