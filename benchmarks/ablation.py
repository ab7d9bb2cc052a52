"""The paper's Table 1 on a simulated county: twelve networks, one split, one budget.

    python benchmarks/ablation.py [--minutes 5] [--seeds 0,1,2] [--scale tiny] [--out FOLDER]

Every row is `carbonmap compare` of its own preset, ``iidm:table1:NAME-tiny``. The four corners
(none or all of the distilled parts, concatenation or attention) run at all seeds, the others at
the first.
Longer budgets and ``--scale paper`` are the same command on a larger machine.
"""

import argparse
import json
import statistics
import tempfile
from collections import namedtuple
from pathlib import Path

from bench_models import prepare
from probe import carbonmap

from carbonmap.networks.presets import TABLE1

Measured = namedtuple("Measured", "one mean ssim parameters steps")

CORNERS = ("mask", "kd-vgg, kd-unet", "attention", "kd-vgg, kd-unet, attention")


def measure(folder, month, row, seed, given):
    """One network's RMSE by one draw and by their mean, its SSIM, parameters and steps."""
    name = f"iidm:table1:{row}" + ("-tiny" if given.scale == "tiny" else "")
    more = [word for value in given.set for word in ("--set", value)]
    _, _, said = carbonmap(
        folder, "compare", "--models", f"{name};", "--minutes", given.minutes, "--dates", month,
        "--draws", given.draws, "--set", f"model.seed={seed}", "--device", given.device, *more,
        "--json", "-o", f"ablation/{seed}/{row.replace(', ', '+')}",
    )  # fmt: skip
    (model,) = json.loads(said)["models"].values()
    one, mean = model["judged"]["one"], model["judged"]["mean"]
    return Measured(
        one["rmse_mg_c_ha"],
        mean["rmse_mg_c_ha"],
        mean["ssim"],
        model["parameters"],
        model["training_steps"],
    )


def told(values, form=".2f"):
    """Mean of some seeds' figures, and how far apart they are."""
    apart = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{apart}"


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", default="5")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--draws", default="8")
    parser.add_argument("--scale", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", default="", help="some of them, parted by semicolons")
    parser.add_argument("--set", action="append", default=[], help="as of carbonmap, for all rows")
    parser.add_argument("--out", type=Path, help="a folder that is kept; runs there go on")
    given = parser.parse_args()
    seeds, asked = given.seeds.split(","), given.rows.split(";")
    with tempfile.TemporaryDirectory() as name:
        folder = (given.out or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        month = prepare(folder, Path("no data: the simulated county"))
        print(
            f"held-out RMSE, Mg C/ha; {given.minutes} CPU minutes a network; mean ± standard "
            f"deviation of the seeds where there are several"
        )
        for row in TABLE1:
            if given.rows and row.name not in asked:
                continue
            some = seeds if row.name in CORNERS else seeds[:1]
            found = [measure(folder, month, row.name, seed, given) for seed in some]
            one, mean, ssim, parameters, steps = zip(*found, strict=True)
            print(
                f"{row.name:<28} one draw {told(one):<14} mean of {given.draws} {told(mean):<14} "
                f"SSIM {told(ssim, '.3f'):<15} {parameters[0]:>9,} parameters "
                f"{min(steps):>6,} steps  (paper {row.rmse})",
                flush=True,
            )


if __name__ == "__main__":
    main()
