"""Ways to run a command in a process of its own and to do it harm there.

Processes are forked from a server that has imported carbonmap, so that one costs a tenth of a
second and not two: fifty can be killed within a test. Every fault is the system's own: a signal, a
limit, a full file system, a lost capability, a missing network.
"""

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass

import pytest

from carbonmap.cli import main
from carbonmap.io import output
from tests.conftest import FIELDS, SIZE, SPLIT

PATIENCE_S = 120
"""A command that has not ended by then hangs."""


@dataclass(frozen=True)
class Command:
    """A command to torture.

    Args:
        words: as on the command line.
        out: the folder that it writes, in the project's.
        mark: the file below it that declares the output whole.
        before: commands that must have been run, such as `train` for `predict`.
    """

    words: tuple[str, ...]
    out: str
    mark: str
    before: tuple[tuple[str, ...], ...] = ()


BANDS = ",".join(f"{b}=county/image_2020-05-15_{b}.tif" for b in ("blue", "red", "nir"))

OF_LABELS = ("--model", "ols", "--labels", "made", "--dates", "2020-11", *SPLIT)

MADE = ("build-labels", "county/inventory.shp", *FIELDS, "-o", "made")

OLS = ("train", *OF_LABELS, "-o", "models/ols")

GIVEN = ("predict", "--model", "models/ols", "--dates", "2020-11", "-o", "given")

JUDGED = ("evaluate", "given", "--truth", "made", "-o", "judged")

LATER_BANDS = ",".join(
    f"{b}=later/image_2025-11-15_{b}.tif" for b in ("blue", "green", "red", "nir")
)

LATER = (
    ("simulate", "later", "--size", str(SIZE), "--years-later", "5"),
    ("ingest", "image", "--bands", LATER_BANDS, "--date", "2025-11-15", "--scale", "1e-4"),
    ("predict", "--model", "models/ols", "--dates", "2025-11", "-o", "after"),
    ("calibrate", "--change", *OF_LABELS[2:], "--model", "models/ols"),
)
"""The same land later, mapped, and how its change errs."""

DENSITY = "given/demo_2020-11_carbon_density.tif"

AFTER = "after/demo_2025-11_carbon_density.tif"

COMMANDS = {
    "build-labels": Command(
        ("build-labels", "county/inventory.shp", *FIELDS, "-o", "labels"), "labels", "labels.json"
    ),
    "ingest": Command(
        ("ingest", "image", "--bands", BANDS, "--date", "2020-05-15"),
        "archive",
        "demo/image_2020-05-15/layer.json",
    ),
    "mask": Command(
        ("mask", "--method", "threshold", "--dates", "2020-11", "-o", "masks/forest.tif"),
        "masks",
        "forest.json",
    ),
    "train": Command(
        ("train", *OF_LABELS, "-o", "models/again"),
        "models/again",
        "model.json",
        before=(MADE,),
    ),
    "predict": Command(
        ("predict", "--model", "models/ols", "--dates", "2020-11", "-o", "maps"),
        "maps",
        "demo_2020-11_carbon_density.json",
        before=(MADE, OLS),
    ),
    "evaluate": Command(
        ("evaluate", "given", "--truth", "made", "-o", "evaluation"),
        "evaluation",
        "evaluation.json",
        before=(MADE, OLS, GIVEN),
    ),
    "totals": Command(
        ("totals", DENSITY, "--evaluation", "judged", "--labels", "made", "-o", "totals"),
        "totals",
        "totals.json",
        before=(MADE, OLS, GIVEN, JUDGED),
    ),
    "change": Command(
        ("change", DENSITY, AFTER, "--labels", "made", "-o", "change"),
        "change",
        "change.json",
        before=(MADE, OLS, GIVEN, *LATER),
    ),
    "report": Command(
        ("report", "given", "--evaluation", "judged", "-o", "report"),
        "report",
        "report.json",
        before=(MADE, OLS, GIVEN, JUDGED),
    ),
}
"""What is starved, killed and interrupted; another command joins by a line here."""

SLOW = {"mask", "train", "evaluate", "totals", "change", "report"}
"""Commands that write as others do, and are hurt by `make test-slow` alone."""


def each(*slow):
    """Parametrise a test by command; those named, and `SLOW`, are marked slow."""
    late = SLOW | set(slow)
    return pytest.mark.parametrize(
        "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in late)) for n in COMMANDS]
    )


@dataclass(frozen=True)
class Done:
    """How a process ended; a negative code is the signal that killed it."""

    code: int
    out: str
    err: str

    def said(self, *texts, code=1):
        """It ended with one message that holds the texts, after a few words on its progress."""
        assert self.code == code, self
        *before, message = self.err.split("carbonmap: ")
        assert len(before) == 1, self.err
        assert all(text in message for text in texts), self.err
        assert len(self.err.splitlines()) < 12, self.err
        assert "Traceback" not in self.err, self.err


_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "tests.faults.harm",
        "matplotlib.backends.backend_agg",
        "carbonmap.stages.train",
        "carbonmap.stages.predict",
        "carbonmap.stages.gf1.batch",
    ]
)


class Run:
    """A command in a forked process, begun when this is made.

    Args:
        folder: where it runs.
        words: the command line.
        harm: what is done to the process before, functions and their arguments.
    """

    def __init__(self, folder, words, *harm):
        self.folder = folder
        streams = [_server.Pipe(duplex=False) for _ in range(2)]
        self._said = [said for said, _ in streams]
        ends = [end for _, end in streams]
        self.process = _server.Process(target=_live, args=(folder.path, words, ends, harm))
        self.process.start()
        for end in ends:
            end.close()

    @property
    def pid(self):
        return self.process.pid

    def until(self, pattern):
        """Wait until there is a file of that name in the folder, or the process has ended."""
        while self.process.is_alive() and not self._holds(pattern):
            time.sleep(0.001)
        return self

    def _holds(self, pattern):
        try:
            return any(self.folder.path.rglob(pattern))
        except FileNotFoundError:  # a folder went while it was walked through
            return False

    def after(self, seconds):
        """Wait so long, or until the process has ended."""
        self.process.join(seconds)
        return self

    def send(self, number):
        """Send a signal, where there is still somebody to get it."""
        if self.process.is_alive():
            os.kill(self.pid, number)
        return self

    def end(self):
        """How it ended."""
        self.process.join(PATIENCE_S)
        hangs = self.process.is_alive()
        if hangs:
            self.process.kill()
        done = Done(self.process.exitcode, *map(_text, self._said))
        assert not hangs, f"hangs: {done}"
        return done


def run(folder, words, *harm):
    """A command in a forked process to its end."""
    return Run(folder, words, *harm).end()


def _text(stream):
    """All that was said; a command in good health says less than a pipe holds."""
    with os.fdopen(os.dup(stream.fileno()), encoding="utf-8", errors="replace") as reader:
        stream.close()
        return reader.read()


def _live(path, words, ends, harm):
    os.chdir(path)
    for number, end in enumerate(ends, 1):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    for do, *how in harm:
        do(*how)
    main.main([str(w) for w in words], prog_name="carbonmap")


def small_files(most):
    """Let no file grow beyond so many bytes: a write then fails as it does on a full disk.

    Python ignores the signal that would end the process.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def at(module, name, nth, do, *how):
    """Do harm when a function is called for the nth time, from 0, before it runs."""
    owner = importlib.import_module(module)
    real, calls = getattr(owner, name), iter(range(1_000_000))

    def harmed(*args, **more):
        if next(calls) == nth:
            do(*how)
        return real(*args, **more)

    setattr(owner, name, harmed)


def die():
    """End as in a power cut: SIGKILL runs no handler."""
    os.kill(os.getpid(), signal.SIGKILL)


def send_itself(number):
    """Get a signal, as from Ctrl-C or from a batch system."""
    os.kill(os.getpid(), number)


def obey_permissions():
    """Take from root the power to write where permissions forbid it."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for k in range(3):  # effective, permitted, inheritable; CAP_DAC_OVERRIDE 1, DAC_READ_SEARCH 2
        sets[k] &= ~0b110
    assert libc.capset(header, sets) == 0


def lose_network():
    """Leave only a loopback that is down; where the system forbids it, refuse every connection."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_network = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of linux/sched.h
    if libc.unshare(new_network) and libc.unshare(new_user | new_network):
        socket.socket.connect = _refuse
    with contextlib.suppress(OSError), socket.create_connection(("192.0.2.1", 80), timeout=1):
        raise AssertionError("there still is a network")


def _refuse(*_args):
    raise OSError("there is no network")


def set_variable(name, value):
    """Set a variable of the environment as if the process had been started with it."""
    os.environ[name] = value
    tempfile.tempdir = None


def litter(folder):
    """Hidden names and drafts below a folder, the topmost only; the archive keeps a lock."""
    found = [p.relative_to(folder) for n in (".*", "*partial*", "tmp*") for p in folder.rglob(n)]
    top = {str(p) for p in found if not any(q in p.parents for q in found)}
    return sorted(n for n in top if not n.endswith(".catalog.lock"))


def products(folder, command):
    """The files that a command made, by name, with their bytes; the project's own path left out."""
    here = str(folder.path).encode()
    return {n: data.replace(here, b"") for n, data in folder.products(command.out).items()}


def require_whole(folder, command, before, clean):
    """No file under a final name is half written, and a mark tells the truth.

    Args:
        folder: the project.
        command: the one that was hurt.
        before: the output's files before it, by name.
        clean: the same after a run that nobody hurt.
    """
    for name, data in products(folder, command).items():
        assert data in (before.get(name), clean.get(name)), f"{name} is neither old nor new"
    mark = folder.path / command.out / command.mark
    if mark.exists():
        assert output.damaged(mark) == []
