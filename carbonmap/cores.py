"""How much of the machine this process may use."""

from __future__ import annotations

import os


def cpu_threads() -> int:
    """Threads for work whose result does not depend on them: the cores that this process may use.

    A batch system pins a job to some of a machine's cores; more threads than those only wait.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
