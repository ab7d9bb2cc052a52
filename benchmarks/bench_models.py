"""Every model on the same split: error in held-out blocks, seconds and peak memory.

Over the README's own commands on real or simulated land; the peer is a random forest that sees a
pixel's own bands and terrain and no context (``model.radii=[]``), which is what users take first.

    python benchmarks/bench_models.py [--data ../shared/data/zion] [--seeds 0,1,2] [--inputs NAMES]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from probe import carbonmap

MODELS = (
    ("random-forest, pixel alone", "random-forest", ["--set", "model.radii=[]"]),
    ("ols", "ols", []),
    ("svr", "svr", []),
    ("random-forest", "random-forest", []),
    ("gradient-boosting", "gradient-boosting", []),
)
BANDS = (
    "blue={0}/landsat_b2.tif,green={0}/landsat_b3.tif,red={0}/landsat_b4.tif,nir={0}/landsat_b5.tif"
)


def prepare(folder, data):
    """The README's commands up to the labels, or a simulated county where there are no data."""
    if data.is_dir():
        steps = [
            ["init", "--region", "land", "--like", data / "landsat_b4.tif"],
            ["ingest", "image", "--bands", BANDS.format(data), "--date", "2015-08-18"],
            ["ingest", "dem", data / "srtm.tif"],
            ["ingest", "canopy-height", data / "canopy_height.tif"],
            ["build-labels", data / "inventory_west.shp", "--volume-field", "HUO_LMGQXJ"],
        ]
        month = "2015-08"
    else:
        bands = ",".join(
            f"{b}=county/image_2020-11-15_{b}.tif" for b in ("blue", "green", "red", "nir")
        )
        steps = [
            ["simulate", "county"],
            ["init", "--region", "land", "--like", "county/dem.tif"],
            ["ingest", "image", "--bands", bands, "--date", "2020-11-15", "--scale", "1e-4"],
            ["ingest", "dem", "county/dem.tif"],
            ["ingest", "canopy-height", "county/canopy_height.tif"],
            ["build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ"],
        ]
        month = "2020-11"
    for words in steps:
        seconds, peak, _ = carbonmap(folder, *words)
        print(f"{' '.join(map(str, words[:2])):<32} {seconds:7.1f} s {peak:7.0f} MB")
    return month


def measure(folder, month, name, kind, extra, seeds):
    """Train, map and judge one model on several splits."""
    errors, times, peaks = [], [], []
    for seed in seeds:
        tag = f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        split = ["--set", f"model.split.seed={seed}", *extra]
        trained = carbonmap(
            folder, "train", "--model", kind, "--dates", month, *split, "-o", f"models/{tag}"
        )
        mapped = carbonmap(
            folder, "predict", "--dates", month, "--model", f"models/{tag}", "-o", f"maps/{tag}"
        )
        judged = carbonmap(
            folder, "evaluate", f"maps/{tag}", "--truth", "labels", "--json", "-o", f"e/{tag}"
        )
        (facts,) = json.loads(judged[2])["maps"].values()
        errors.append(facts["held_out"]["rmse_mg_c_ha"])
        times.append((trained[0], mapped[0]))
        peaks.append(max(trained[1], mapped[1]))
    train, predict = (
        f"{min(t):.1f} / {statistics.median(t):.1f} s" for t in zip(*times, strict=True)
    )
    spread = ", ".join(f"{e:.2f}" for e in errors)
    print(
        f"{name:<28} RMSE {statistics.mean(errors):6.2f} ({spread})  train {train:>15}  "
        f"predict {predict:>15}  peak {max(peaks):6.0f} MB",
        flush=True,
    )
    return statistics.mean(errors)


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/zion"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--inputs", default="image,terrain")
    given = parser.parse_args()
    seeds = [int(s) for s in given.seeds.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        month = prepare(folder, given.data.resolve())
        print(f"held-out RMSE, Mg C/ha, mean of {len(seeds)} splits; inputs {given.inputs}")
        print("times: minimum / median of these runs")
        found = {
            name: measure(folder, month, name, kind, [*extra, "--inputs", given.inputs], seeds)
            for name, kind, extra in MODELS
        }
    peer = found[MODELS[0][0]]
    print(
        "RMSE against the pixel's forest: "
        + ", ".join(f"{n} {e / peer:.3f}" for n, e in found.items())
    )


if __name__ == "__main__":
    main()
