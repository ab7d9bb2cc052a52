"""How a network's map is drawn, where a user wants it otherwise than its card says."""

from __future__ import annotations

import dataclasses

from pydantic import ValidationError

from carbonmap.ensembles import MOST_DRAWS
from carbonmap.errors import ModelError
from carbonmap.learning.diffusion import Diffusion, Residual
from carbonmap.learning.learner import Learner
from carbonmap.learning.machine import device_name
from carbonmap.models.neural import Neural
from carbonmap.types import Json


def redrawn(
    model: Neural, samples: int | None = None, steps: int | None = None, device: str | None = None
) -> Neural:
    """A model that draws its maps otherwise; what is None stays as it is.

    The mean of K draws of a perfect sampler has √(1 + 1/K) times the error of the true mean, and
    takes K times one draw's time.

    Args:
        model: its network is moved to the device, and shared otherwise.
        samples: draws whose mean is the map.
        steps: of the diffusion's sampler.
        device: that computes; see `learning.machine.device_name`.

    Raises:
        ModelError: a number is below 1 or more than the noise levels, the model does not draw, or
            has no diffusion, or the device is not there.
    """
    learner = model.learner
    if samples is not None:
        if not 1 <= samples <= MOST_DRAWS:
            raise ModelError(f"--samples is {samples}; give 1 to {MOST_DRAWS}")
        if not learner.generative:
            raise ModelError("--samples says nothing to this model, whose draws are all alike")
    if steps is not None:
        learner = _stepped(learner, steps)
    if device is not None:
        learner.network.to(device_name(device))
    return dataclasses.replace(model, learner=learner, samples=samples or model.samples)


def drawing(model: Neural) -> Json:
    """What a map says of how it was drawn: device, and of generative models draws and steps.

    The steps are None where there is no diffusion.
    """
    learner, device = model.learner, next(model.learner.network.parameters()).device.type
    if not learner.generative:
        return {"device": device}
    steps = learner.spec.steps if isinstance(learner, Diffusion | Residual) else None
    return {"device": device, "samples": model.samples, "sampler_steps": steps}


def _stepped(learner: Learner, steps: int) -> Learner:
    """A learner whose sampler takes so many steps; the same network."""
    if not isinstance(learner, Diffusion | Residual):
        raise ModelError("--steps says nothing to this model, which has no diffusion")
    try:
        spec = dataclasses.replace(learner.spec, steps=steps)
    except ValidationError as error:
        fault = error.errors()[0]
        told = fault.get("ctx", {}).get("error", fault["msg"])
        raise ModelError(f"--steps {steps} cannot be: {told}") from None
    return dataclasses.replace(learner, spec=spec)
