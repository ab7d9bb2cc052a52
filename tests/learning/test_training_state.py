"""What a run keeps: enough for a resumed one to equal an unbroken one, and nothing that misfits."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load, save  # noqa: E402

from carbonmap.errors import ModelError  # noqa: E402
from carbonmap.learning.loop import fit  # noqa: E402
from carbonmap.learning.state import averaged, begin, restore, take  # noqa: E402
from tests import learners  # noqa: E402
from tests.learners import CPU, patches, same, settings, trained, values  # noqa: E402

MAKERS = [
    lambda: learners.toy("a", "b"),
    learners.regression,
    learners.diffusion,
    learners.residual,
]
IDS = ["toy", "regression", "diffusion", "residual"]


def through_a_file(tensors, counters):
    """What was taken, as files would give it back."""
    return load(save(tensors)), json.loads(json.dumps(counters))


@pytest.mark.parametrize("at", [0, 5])
@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_a_resumed_run_equals_an_unbroken_one_to_the_bit(make, at):
    chosen = settings(10)
    whole = make()
    state, told = trained(whole, chosen)
    first = make()
    begun = begin(first, chosen, CPU)
    for _, _ in zip(range(at), fit(first, patches, chosen, CPU, begun), strict=False):
        pass
    saved = through_a_file(*take(first, begun))
    second = make()
    for module in [second.network, *(part.module for part in second.parts)]:
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, 0.1)
    resumed = begin(second, chosen, CPU)
    restore(second, resumed, *saved)
    _, more = trained(second, chosen, state=resumed)
    kept, again = take(whole, state), take(second, resumed)
    assert [p.losses for p in more] == [p.losses for p in told[at:]]
    assert kept[1] == again[1]
    assert same(kept[0], again[0])


def test_every_tensor_of_a_run_is_kept_once():
    """One network moved by two parts; each kernel has its own, its mean and two moments."""
    learner = learners.residual()
    state, _ = trained(learner, settings(2))
    tensors, _ = take(learner, state)
    moving = sum(p.numel() for p in learner.network.parameters())
    counted = sum(b.numel() for b in learner.network.buffers())
    assert sum(t.numel() for t in tensors.values()) == 4 * moving + 2 * counted + 1
    assert not any(name.startswith("part.") for name in tensors)


def test_a_part_beside_the_network_is_kept_too():
    learner = learners.toy("rival", "only")
    tensors, _ = take(learner, begin(learner, settings(), CPU))
    kept = {k.removeprefix("part.rival."): v for k, v in tensors.items() if k[:4] == "part"}
    assert same(kept, values(learner.modules["rival"]))


def test_what_is_taken_does_not_move_with_the_run():
    learner, chosen = learners.toy(), settings(4)
    state = begin(learner, chosen, CPU)
    run = fit(learner, patches, chosen, CPU, state)
    next(run)
    tensors, counters = take(learner, state)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    list(run)
    assert same(tensors, before)
    assert counters == {"step": 1, "skipped": 0, "failing": 0, "updates": {"only": 1}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("network.0.bias"), r"lacks network\.0\.bias;"),
        (lambda t: t.pop("moments.only.4.bias.exp_avg"), r"lacks moments\.only\.4\.bias\.exp_avg;"),
        (lambda t: t.pop("ema.n_averaged"), r"lacks ema\.n_averaged;"),
        (lambda t: t.update(extra=torch.ones(1)), r"without a place here, extra;"),
        (
            lambda t: t.update({"ema.module.4.bias": torch.ones(2)}),
            r"ema\.module\.4\.bias \(\(2,\) float32, want \(1,\) float32\)",
        ),
        (
            lambda t: t.update({"network.1.num_batches_tracked": torch.tensor(1.0)}),
            r"num_batches_tracked \(\(\) float32, want \(\) int64\)",
        ),
    ],
)
def test_tensors_that_misfit_are_refused_by_name_and_change_nothing(change, says):
    learner = learners.toy()
    state, _ = trained(learner, settings(2))
    tensors, counters = take(learner, state)
    change(tensors)
    other = learners.toy()
    begun = begin(other, settings(2), CPU)
    before = take(other, begun)
    with pytest.raises(ModelError, match=says):
        restore(other, begun, tensors, counters)
    after = take(other, begun)
    assert same(before[0], after[0])
    assert before[1] == after[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"updates": {"other": 2}}, "has the parts only; resume"),
        ({"updates": None}, "counts updates of None"),
        ({"step": -1}, "want whole numbers for step, skipped, failing"),
        ({"step": True}, "want whole numbers"),
        ({"failing": None}, "want whole numbers"),
        ({"updates": {"only": 1.5}}, "want whole numbers"),
    ],
)
def test_counters_that_misfit_are_refused(change, says):
    learner = learners.toy()
    state, _ = trained(learner, settings(2))
    tensors, counters = take(learner, state)
    with pytest.raises(ModelError, match=says):
        restore(learner, state, tensors, counters | change)


def test_maps_are_drawn_by_the_averaged_weights_and_training_goes_on_as_if_none_were():
    quiet, watched, chosen = learners.toy(), learners.toy(), settings(6)
    trained(quiet, chosen)
    state = begin(watched, chosen, CPU)
    for _ in fit(watched, patches, chosen, CPU, state):
        own = values(watched.network)
        with averaged(watched, state):
            assert not watched.network.training
            mean = state.ema.state()["module.4.weight"]
            assert torch.equal(watched.network[4].weight, mean)
            drawn = watched.draw(patches(0).condition, None)
            assert torch.equal(drawn, watched.draw(patches(0).condition, None))
            assert not drawn.requires_grad
        assert same(values(watched.network), own)
    assert same(values(watched.network), values(quiet.network))
