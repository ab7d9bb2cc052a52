"""Sums over square windows, the same to the last bit wherever the array was cut."""

from __future__ import annotations

import numpy as np

from carbonmap.types import Bool, Floats, Ints


def window_sum(values: Floats | Ints | Bool, radius: int) -> Floats:
    """Sum over the ``(2 · radius + 1)²`` pixels around every pixel whose window is whole.

    Along each axis a run of ``n`` numbers is added as runs of powers of two, doubling as it goes:
    ``S_2k(i) = S_k(i) + S_k(i + k)``. Every sum is thus taken in one order that depends on
    ``radius`` alone, unlike a running sum, whose rounding carries from one end of the array to the
    other; and it costs ``2 log₂ n`` additions, not ``n``.

    Args:
        values: finite, shape ``(row, col)``.
        radius: pixels.

    Returns:
        Float64, shape ``(row − 2 · radius, col − 2 · radius)``.
    """
    return _run_sum(_run_sum(values.astype(np.float64), radius).T, radius).T


def _run_sum(values: Floats, radius: int) -> Floats:
    """Sums of ``2 · radius + 1`` neighbours along the first axis."""
    length = 2 * radius + 1
    total = np.zeros((values.shape[0] - 2 * radius, *values.shape[1:]))
    start, width, run = 0, 1, values
    while True:
        if length & width:
            total += run[start : start + total.shape[0]]
            start += width
        if 2 * width > length:
            return total
        run = run[:-width] + run[width:]
        width *= 2
