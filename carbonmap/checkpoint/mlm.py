"""A network's card in the words of STAC's extension for machine-learning models (MLM 1.4)."""

from __future__ import annotations

import torch

from carbonmap.models.neural import Neural
from carbonmap.types import Json

DIMS = ["batch", "channel", "height", "width"]


def to_mlm(model: Neural, family: str, parameters: int) -> Json:
    """Fields of the extension, https://github.com/stac-extensions/mlm, as plain values.

    Args:
        model: whose inputs, window and scale are told.
        family: of its network.
        parameters: of its network.
    """
    return {
        "mlm:name": f"carbonmap {family}",
        "mlm:architecture": type(model.learner.network).__name__,
        "mlm:tasks": ["regression"],
        "mlm:framework": "pytorch",
        "mlm:framework_version": torch.__version__,
        "mlm:total_parameters": parameters,
        "mlm:pretrained": False,
        "mlm:input": [_input(model)],
        "mlm:output": [_output(model)],
    }


def _input(model: Neural) -> Json:
    channels = model.inputs.channels
    moments = [*zip(model.norm.mean, model.norm.spread, strict=True), (0.0, 1.0)]
    return {
        "name": "layers, and where they are known",
        "bands": list(channels),
        "input": {
            "shape": [-1, len(channels), model.tile_px, model.tile_px],
            "dim_order": DIMS,
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": spread} for mean, spread in moments
        ],
        "resize_type": None,
        "description": f"pixels of {model.pixel_m:g} m; 0 in every channel where a layer lacks; "
        "after scaling, channels are joined by the card's normalisation.whitening",
    }


def _output(model: Neural) -> Json:
    return {
        "name": "carbon density",
        "tasks": ["regression"],
        "result": {
            "shape": [-1, 1, model.tile_px, model.tile_px],
            "dim_order": DIMS,
            "data_type": "float32",
        },
        "description": f"−1 is 0 and 1 is {model.scale:g} Mg C/ha",
    }
