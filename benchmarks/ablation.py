"""The paper's Table 1 on a simulated county: twelve networks, one split, one budget.

    python benchmarks/ablation.py [--minutes 5] [--seeds 0,1,2] [--scale tiny] [--out FOLDER]

Every row is `carbonmap compare` of its own preset, ``iidm:table1:NAME-tiny``. The four corners (no
VGG or the distilled one, concatenation or attention) run at all seeds, the other rows at the first.
Longer budgets and ``--scale paper`` are the same command on a larger machine.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from bench_models import prepare
from probe import carbonmap

from carbonmap.networks.presets import TABLE1

CORNERS = ("mask", "kd-vgg, kd-unet", "attention", "kd-vgg, kd-unet, attention")


def measure(folder, month, row, seed, given):
    """RMSE of one draw and of the mean of eight, steps and parameters."""
    name = f"iidm:table1:{row}" + ("-tiny" if given.scale == "tiny" else "")
    _, _, said = carbonmap(
        folder, "compare", "--models", f"{name};", "--minutes", given.minutes, "--dates", month,
        "--draws", given.draws, "--set", f"model.seed={seed}", "--device", given.device,
        "--json", "-o", f"ablation/{seed}/{row.replace(', ', '+')}",
    )  # fmt: skip
    (model,) = json.loads(said)["models"].values()
    judged = model["judged"]
    return (
        judged["one"]["rmse_mg_c_ha"],
        judged["mean"]["rmse_mg_c_ha"],
        model["training_steps"],
        model["parameters"],
        judged["mean"]["ssim"],
    )


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", default="5")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--draws", default="8")
    parser.add_argument("--scale", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="a folder that is kept; runs there go on")
    given = parser.parse_args()
    seeds = given.seeds.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = (given.out or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        month = prepare(folder, Path("no data: the simulated county"))
        print("held-out RMSE, Mg C/ha; CPU minutes a network:", given.minutes)
        for row in TABLE1:
            some = seeds if row.name in CORNERS else seeds[:1]
            found = [measure(folder, month, row.name, seed, given) for seed in some]
            one, mean = ([f[k] for f in found] for k in (0, 1))
            spread = f" ± {statistics.stdev(mean):.2f}" if len(mean) > 1 else ""
            print(
                f"{row.name:<28} one draw {statistics.mean(one):6.2f}  "
                f"mean of 8 {statistics.mean(mean):6.2f}{spread:<7} SSIM {found[0][4]:.3f}  "
                f"{found[0][3]:>9,} parameters {found[0][2]:>6,} steps  (paper {row.rmse})",
                flush=True,
            )


if __name__ == "__main__":
    main()
