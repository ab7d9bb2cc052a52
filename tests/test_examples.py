"""The scripts that a user would start from run on a finished project."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_examples_run_on_a_finished_project(mapped, tmp_path, capsys):
    script = runpy.run_path(str(EXAMPLES / "open_a_map.py"))
    script["main"](mapped.path, "maps/demo_2020-11_carbon_density.tif")
    assert "Mg C ha-1" in capsys.readouterr().out
    script = runpy.run_path(str(EXAMPLES / "draw_readme_pictures.py"))
    script["main"](mapped.path, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"demo_map.png", "legend.png"}
