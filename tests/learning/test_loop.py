"""The loop: a step follows from its number, moves each part by its own loss, and fails loudly."""

import copy
import dataclasses
import math
import time

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from carbonmap.errors import ModelError  # noqa: E402
from carbonmap.learning.learner import Batch, Part  # noqa: E402
from carbonmap.learning.loop import MOST_FAILING, fit  # noqa: E402
from carbonmap.learning.precision import autocast, native_bfloat16  # noqa: E402
from carbonmap.learning.state import begin  # noqa: E402
from tests import learners  # noqa: E402
from tests.learners import CPU, patches, same, settings, trained, values  # noqa: E402


def broken(*steps):
    """Patches whose layers hold an infinity at some steps."""

    def batches(step):
        batch = patches(step)
        if step in steps:
            batch.condition[0, 0, 3, 3] = math.inf
        return batch

    return batches


@pytest.mark.parametrize("make", [learners.toy, learners.regression])
def test_the_loss_falls_on_a_problem_that_can_be_learned(make):
    _, progress = trained(make(), settings(60, learning_rate=3e-2))
    losses = [sum(p.losses.values()) for p in progress]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


@pytest.mark.parametrize("make", [learners.diffusion, learners.residual])
def test_the_loss_of_a_denoiser_falls(make):
    _, progress = trained(make(), settings(80))
    losses = [p.losses[list(p.losses)[-1]] for p in progress]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_a_step_depends_on_its_number_and_not_on_what_was_drawn_elsewhere():
    one, other = learners.toy(), learners.toy()
    torch.manual_seed(1)
    trained(one, settings(3))
    torch.manual_seed(2)
    torch.rand(7)
    before = torch.get_rng_state()
    trained(other, settings(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(values(one.network), values(other.network))


def test_another_seed_is_another_noise():
    one, other = learners.toy(), learners.toy()
    trained(one, settings(2), seed=0)
    trained(other, settings(2), seed=1)
    assert not same(values(one.network), values(other.network))


def test_each_part_moves_as_it_would_alone():
    both, first, second = learners.toy("a", "b"), learners.toy("a"), learners.toy("x", "b")
    second.modules.pop("x")
    for learner in (both, first, second):
        trained(learner, settings(4))
    assert same(values(both.modules["a"]), values(first.modules["a"]))
    assert same(values(both.modules["b"]), values(second.modules["b"]))
    assert not same(values(both.modules["a"]), values(both.modules["b"]))


def test_the_last_part_sees_what_the_first_has_become():
    """The second part's loss is the first's bias, which the first step has lowered by the rate."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.ones_(first.weight)

    class Two(learners.Toy):
        @property
        def parts(self):
            return (
                Part("first", first, lambda *_: first.weight.sum()),
                Part("second", second, lambda *_: (second.weight * first.weight.detach()).sum()),
            )

    chosen = settings(1, weight_decay=0.0)
    _, (progress,) = trained(Two({}, nn.ModuleList([first, second])), chosen)
    assert progress.gradients["second"] == pytest.approx(1 - 1e-2)


def test_the_first_step_is_adams_and_only_kernels_decay():
    """Adam's first step is the rate times the sign of the gradient (Kingma & Ba 2015, 2.1)."""
    model = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(3.0)
    ones = torch.ones(1, 1, 4, 4)
    learner = learners.Toy({"only": model}, model)
    chosen = settings(1, learning_rate=0.1, weight_decay=0.5)
    _, (progress,) = trained(learner, chosen, lambda _: Batch(ones, 0 * ones, ones))
    assert model.weight.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1, abs=1e-6)
    assert model.bias.item() == pytest.approx(3.0 - 0.1, abs=1e-6)
    assert progress.gradients["only"] == pytest.approx(10 * math.sqrt(2), rel=0.05)


def test_gradients_are_clipped_and_told_as_they_were():
    learner = learners.toy()
    _, (progress,) = trained(learner, settings(1, clip_norm=1e-3))
    assert progress.gradients["only"] > 0.1
    norms = torch.stack([p.grad.norm() for p in learner.network.parameters()])
    assert norms.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_parts_own_betas_reach_its_optimiser():
    learner = learners.toy("a", "b")
    a, b = learner.parts

    class Own(learners.Toy):
        parts = (dataclasses.replace(a, betas=(0.5, 0.9)), b)

    state = begin(Own(learner.modules, learner.network), settings(), CPU)
    assert state.optimisers["a"].defaults["betas"] == (0.5, 0.9)
    assert state.optimisers["b"].defaults["betas"] == (0.9, 0.999)


def test_the_rate_is_that_of_the_step():
    chosen = settings(10, warmup_steps=1)
    _, progress = trained(learners.toy(), chosen)
    assert [p.learning_rate for p in progress] == [chosen.rate(k) for k in range(10)]
    assert [p.step for p in progress] == list(range(1, 11))


def test_the_averaged_weights_are_the_running_mean_of_the_steps():
    learner, chosen = learners.toy(), settings(6, ema=0.3)
    state, mean = begin(learner, chosen, CPU), None
    for n, _ in enumerate(fit(learner, patches, chosen, CPU, state)):
        now, d = learner.network[0].weight.detach().double(), min(0.3, (1 + n) / (10 + n))
        mean = now.clone() if mean is None else d * mean + (1 - d) * now
    held = state.ema.state()["module.0.weight"].double()
    torch.testing.assert_close(held, mean, rtol=1e-6, atol=1e-7)


def test_a_step_that_is_not_finite_leaves_everything_as_it_was():
    learner, chosen = learners.toy(), settings(8)
    state = begin(learner, chosen, CPU)
    run = fit(learner, broken(3, 5), chosen, CPU, state)
    for _ in range(3):
        next(run)
    before, mean = values(learner.network), copy.deepcopy(state.ema.state())
    progress = next(run)
    assert progress.skipped == ("only",)
    assert not math.isfinite(progress.losses["only"])
    assert same(values(learner.network), before)
    assert same(state.ema.state(), mean)
    assert [p.skipped for p in run] == [(), ("only",), (), ()]
    assert (state.step, state.skipped, state.failing, state.updates) == (8, 2, 0, {"only": 6})
    assert all(t.isfinite().all() for t in values(learner.network).values())


def test_a_run_that_stays_infinite_ends_with_advice():
    learner = learners.toy()
    before = values(learner.network)
    run = fit(learner, broken(*range(99)), settings(99), CPU)
    for _ in range(MOST_FAILING - 1):
        next(run)
    with pytest.raises(ModelError, match=r"lower learning_rate.*float32"):
        next(run)
    assert same(values(learner.network), before)


def test_a_parameter_that_no_gradient_reaches_is_refused_by_name():
    learner = learners.toy()
    learner.network.add_module("idle", nn.Module())
    learner.network.idle.register_parameter("gain", nn.Parameter(torch.ones(1)))
    learner.network.idle.forward = lambda x: x
    with pytest.raises(ModelError, match=r"'only' reaches idle\.gain; leave"):
        trained(learner, settings(1))
    learner.network.idle.gain.requires_grad_(False)
    trained(learner, settings(1))


def test_waiting_for_patches_is_told_apart_from_computing():
    def slow(step):
        time.sleep(0.2)
        return patches(step)

    _, (progress,) = trained(learners.toy(), settings(1), slow)
    assert progress.waiting >= 0.2 > progress.computing > 0


def test_a_run_that_is_done_does_nothing():
    learner = learners.toy()
    state, _ = trained(learner, settings(2))
    assert list(fit(learner, patches, settings(2), CPU, state)) == []


@pytest.mark.parametrize(
    ("held", "precision", "want"),
    [
        ({"avx512_bf16": True}, "auto", torch.float32),
        ({"avx512_bf16": True}, "float32", torch.float32),
        ({"avx512_bf16": True}, "bfloat16", torch.bfloat16),
        ({"bf16": True}, "bfloat16", torch.bfloat16),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_asked(monkeypatch, held, precision, want):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: held)
    with autocast(precision, CPU):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == want


def test_bfloat16_that_would_be_emulated_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    assert not native_bfloat16(CPU)
    with pytest.raises(ModelError, match=r"this cpu has no bfloat16"):
        trained(learners.toy(), settings(1, precision="bfloat16"))


def test_weights_stay_in_single_precision_under_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})
    learner = learners.diffusion()
    _, progress = trained(learner, settings(2, precision="bfloat16"))
    assert all(math.isfinite(p.losses["denoiser"]) for p in progress)
    assert {t.dtype for t in learner.network.parameters()} == {torch.float32}
