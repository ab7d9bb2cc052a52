"""Which numbers convolutions count in: bfloat16 where the machine has it, else single precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from carbonmap.errors import ModelError
from carbonmap.learning.settings import Precision

NATIVE = ("avx512_bf16", "amx_bf16", "bf16")
"""What torch calls the instructions of x86 and Arm CPUs. Without them bfloat16 is emulated, and a
U-Net took ten times as long as in single precision."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Under which a loss is computed: torch's autocast to bfloat16, or nothing.

    Weights, their averages and their updates stay in single precision. bfloat16 has the range of
    single precision, so that losses need no scaling, as those in float16 would.

    Args:
        precision: "auto" takes bfloat16 on a GPU that has it, and never on a CPU.
        device: that computes.

    Raises:
        ModelError: bfloat16 is asked for, and the device would emulate it.
    """
    if precision == "float32" or (precision == "auto" and device.type != "cuda"):
        return nullcontext()
    if native_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    if precision == "auto":
        return nullcontext()
    raise ModelError(
        f"this {device.type} has no bfloat16 and would emulate it many times slower; "
        f'set precision = "auto" or "float32"'
    )


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 by instructions of its own."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    held = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(held.get(name) for name in NATIVE)
