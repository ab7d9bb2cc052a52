"""Run one carbonmap command in a process of its own and tell its time and peak memory."""

import subprocess
import sys

PROBE = """
import resource, sys, time
start = time.perf_counter()
from carbonmap.cli import main
code = main.main(sys.argv[1:], standalone_mode=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("PROBE", time.perf_counter() - start, peak)
sys.exit(code or 0)
"""


def carbonmap(folder, *words):
    """Run a command in a folder.

    Returns:
        Seconds, imports included; peak memory, MB; and what it printed.
    """
    told = [sys.executable, "-c", PROBE, *map(str, words)]
    done = subprocess.run(told, cwd=folder, check=True, capture_output=True, text=True)
    *lines, last = done.stdout.splitlines()
    _, seconds, peak = last.split()
    return float(seconds), float(peak), "\n".join(lines)
