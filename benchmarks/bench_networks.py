"""Networks on one tile: milliseconds against what the machine's own matrix product would need.

The floor of a network is its floating-point operations over the best rate that any float32 matrix
product had in the whole run. Products and networks take turns, and the minimum of each counts, as
other work on the machine only ever adds. Where there is such work, a short product finds a quiet
moment sooner than a network does: the ratios are then too high rather than too low. Target: the
plain KD-UNet within 1.25 times its floor. The IIDM's two halves stand apart: its condition is
computed once a tile, its step as often as sampler and draws ask, and told in KD-UNets.

    python benchmarks/bench_networks.py [--threads 2] [--runs 8] [--compile] [--only KD-UNet ...]
"""

import argparse
import time
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from carbonmap.networks.fold import folded
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.layers import parameters
from carbonmap.networks.presets import preset
from carbonmap.networks.specs import UnetSpec, VggSpec
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import TABLE_A2, Trunk

TILE = 256
"""Pixels a side, as in the paper."""

MATRIX = 1536
"""Rows and columns of the product that measures the peak: past any fixed costs, and short."""

PRODUCT = "matrix product"

YARDSTICK = "KD-UNet"
"""In whose time a denoiser's step is told."""

SAMPLER_STEPS = 20
"""Of the default sampler: how often a step is taken where the condition is computed once."""


@dataclass(frozen=True)
class Case:
    """A network and what it is called with.

    Args:
        name: as printed.
        module: in any mode.
        inputs: of `forward`.
        published: GFLOP, 2 a multiplication; None where nobody has.
    """

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    published: float | None = None


def unets():
    """The paper's student and teacher."""
    tile = (torch.randn(1, 3, TILE, TILE),)
    student, teacher = (44, 88, 176, 352, 704), (64, 128, 256, 512, 1024)
    return [
        Case("KD-UNet", Unet(UnetSpec(3, student)), tile, 45.58),
        Case("UNet", Unet(UnetSpec(3, teacher, 2)), tile, 96.34),
    ]


def trunks():
    """VGG, once a tile and not once a step."""
    tile = (torch.randn(1, 3, TILE, TILE),)
    published = {11: 19.55, 16: 40.09, 19: 50.96}
    full = [Case(f"VGG-{d}", Trunk(VggSpec(d), 3), tile, g) for d, g in published.items()]
    return [*full, Case("KD-VGG-19", Trunk(VggSpec(19, TABLE_A2[19]), 3), tile, 12.81)]


class Half(nn.Module):
    """The IIDM's condition, or its step; of the network only what that half computes.

    Args:
        network: of which a copy is taken.
        step: which half.
    """

    def __init__(self, network, step):
        super().__init__()
        self.network, self.step = deepcopy(network), step
        other = ("features", "halve") if step else ("level", "enter", "first", "encoder", "decoder")
        for name in (*other, *(() if step else ("exit", "last"))):
            setattr(self.network, name, nn.Identity())

    def forward(self, first, *rest):
        """Layers to features; or a noisy map, its noise level and the features to what it holds."""
        if not self.step:
            return self.network.condition(first)
        gamma, *features = rest
        return self.network.denoise(features, first, gamma)


def iidms():
    """`paper` and `tiny`, condition and step apart; their last convolutions begin at zero."""
    found, tile = [], torch.randn(1, 3, TILE, TILE)
    for name in ("paper", "tiny"):
        network = Iidm(preset(name, 3)).eval()
        with torch.no_grad():
            features = network.condition(tile)
        step = (torch.randn(1, 1, TILE, TILE), torch.rand(1), *features)
        found.append(Case(f"IIDM {name}, condition", Half(network, False), (tile,)))
        found.append(Case(f"IIDM {name}, step", Half(network, True), step))
    return found


CASES = (unets, trunks, iidms)
"""Where another network joins: a function that gives its cases."""


def gflop(case):
    """Floating-point operations of one call, checked against the published."""
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),  # the counter knows no fused attention of CPUs
        FlopCounterMode(display=False) as counted,
    ):
        deepcopy(case.module).eval()(*case.inputs)
    found = counted.get_total_flops() / 1e9
    if case.published and abs(found / case.published - 1) > 0.01:
        raise SystemExit(f"{case.name} has {found:.2f} GFLOP; published are {case.published}")
    return found


def ways(case, compiled):
    """The ways to call a network, by name."""
    last = torch.channels_last
    inputs = [x.to(memory_format=last) if x.ndim == 4 else x for x in case.inputs]
    plain = deepcopy(case.module).eval()
    moved = deepcopy(plain).to(memory_format=last)
    fast = folded(case.module)
    yield "as built", lambda: plain(*case.inputs)
    yield "channels last", lambda: moved(*inputs)
    yield "folded, channels last", lambda: fast(*inputs)
    if compiled:
        quick = torch.compile(fast)
        yield "folded, compiled", lambda: quick(*inputs)


def seconds(call):
    """How long one call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fastest(calls, runs):
    """The minimum time of each call by name; all take turns, the first round is not counted."""
    for call in calls.values():
        call()
    rounds = [{name: seconds(call) for name, call in calls.items()} for _ in range(runs)]
    return {name: min(each[name] for each in rounds) for name in calls}


def tell(case, times, peak):
    """Print a network's times beside its floor."""
    work = gflop(case)
    floor = work / peak
    print(
        f"{case.name}: {parameters(case.module) / 1e6:.2f} M parameters, {work:.2f} GFLOP, "
        f"floor {1e3 * floor:.0f} ms"
    )
    for name, took in times.items():
        print(f"    {name:<22} {1e3 * took:6.0f} ms  {took / floor:5.2f} × floor")


def compare(cases, found):
    """Print what a map costs in times of the plain KD-UNet, each at its fastest."""
    if YARDSTICK not in found:
        return
    work = {case.name: gflop(case) for case in cases}
    best = {name: min(times.values()) for name, times in found.items()}
    for name in (n.removesuffix(", step") for n in found if n.endswith(", step")):
        halves = [f"{name}, {half}" for half in ("condition", "step")]
        if any(half not in found for half in halves):
            continue
        for what, of in (("GFLOP", work), ("time", best)):
            once, each = (of[half] / of[YARDSTICK] for half in halves)
            print(
                f"{name}, {what} in {YARDSTICK}s: condition {once:.2f}, step {each:.2f}, one draw "
                f"of {SAMPLER_STEPS} steps {once + SAMPLER_STEPS * each:.1f}"
            )


def main():
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--compile", action="store_true", help="torch.compile, which takes minutes")
    parser.add_argument("--only", nargs="+", help="names of networks, or how they begin")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    a, b = torch.randn(2, MATRIX, MATRIX)
    wanted = tuple(given.only or [""])
    cases = [c for make in CASES for c in make() if c.name.startswith(wanted)]
    found = {}
    with torch.inference_mode():
        for case in cases:
            calls = {PRODUCT: lambda: a @ b, **dict(ways(case, given.compile))}
            found[case.name] = fastest(calls, given.runs)
    peak = 2e-9 * MATRIX**3 / min(times.pop(PRODUCT) for times in found.values())
    print(
        f"one tile of {TILE}² pixels, {given.threads} threads, minimum of {given.runs} runs; "
        f"matrix products reach {peak:.0f} GFLOP/s"
    )
    for case in cases:
        tell(case, found[case.name], peak)
    compare(cases, found)


if __name__ == "__main__":
    main()
