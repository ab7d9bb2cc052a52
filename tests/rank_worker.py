"""One rank of a training run, as `torchrun` would start it: writes its weights to argv[1]."""

import sys

import torch
from safetensors.torch import save_file

from carbonmap.learning.learner import Batch
from carbonmap.learning.loop import fit
from carbonmap.learning.ranks import joined, told
from carbonmap.learning.state import begin, take
from tests import learners

BATCH = 6
"""Of which two ranks have three each."""


def batches(share):
    """A rank's patches; the last ones know fewer pixels, so that the ranks' shares weigh unlike."""

    def of(step):
        batch = learners.patches(step, BATCH)
        batch.weight[4:, :, 2:] = 0
        return Batch(batch.condition[share], batch.target[share], batch.weight[share])

    return of


def main(out):
    torch.set_num_threads(1)
    kept = {}
    with joined(learners.CPU) as world:
        for norm in ("none", "batch"):
            learner = learners.regression(norm)
            learner.network.dropout.p = 0.0  # each rank would drop others
            if world.rank:
                torch.nn.init.ones_(learner.network.last.weight)  # to be made alike
            chosen = learners.settings(6, learning_rate=1e-3)
            state = begin(learner, chosen, learners.CPU, world)
            progress = list(
                fit(learner, batches(world.share(BATCH)), chosen, learners.CPU, state, world)
            )
            tensors, _ = take(learner, state)
            kept |= {f"{norm}.{name}": tensor for name, tensor in tensors.items()}
            kept[f"{norm}.losses"] = torch.tensor([p.losses["network"] for p in progress])
        kept["told"] = torch.tensor(told(5.0 + world.rank, world, learners.CPU))
    save_file(kept, out)


if __name__ == "__main__":
    main(sys.argv[1])
