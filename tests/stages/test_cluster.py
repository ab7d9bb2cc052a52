"""What is sent to other processes, and what they refuse; they themselves are in tests/faults."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from carbonmap.errors import ConfigError, MissingInput, ModelError
from carbonmap.io import files
from carbonmap.io.output import Work
from carbonmap.stages import cluster, mapping
from carbonmap.stages.cluster import Failure, threads_each
from carbonmap.stages.mapping import Plan, release


def plan(folder):
    work = Work(folder / "m.json", folder / ".m.work", {"stage": "predict"}, {"r0c0": {}})
    work.folder.mkdir()
    files.write_json(work.folder / "origin.json", work.origin)
    more = {f.name: None for f in dataclasses.fields(Plan)}
    return Plan(**more | {"work": work, "release": release(), "model": Path("models/x")})


def test_a_plan_travels_without_the_journal(tmp_path):
    own = plan(tmp_path)
    sent = pickle.loads(pickle.dumps(own.sent()))  # as dask sends it
    assert own.work.done
    assert sent == dataclasses.replace(own, work=dataclasses.replace(own.work, done={}))


def test_a_process_with_other_versions_computes_nothing(tmp_path):
    other = dataclasses.replace(plan(tmp_path), release=release() | {"carbonmap": "0.0.1"})
    with pytest.raises(ModelError, match=r"0\.0\.1.*install the same on both"):
        mapping._require_alike(other)


@pytest.mark.parametrize("lost", [True, False])
def test_a_process_that_sees_another_disk_or_a_run_that_is_over_computes_nothing(tmp_path, lost):
    own = plan(tmp_path)
    mapping._require_alike(own)
    path = own.work.folder / "origin.json"
    path.unlink() if lost else files.write_json(path, {"stage": "another"})
    with pytest.raises(MissingInput, match="write to a disk that all of them share"):
        mapping._require_alike(own)
    assert isinstance(mapping.tile_of(own, None), Failure)


@pytest.mark.parametrize(
    ("workers", "scheduler", "threads", "want"),
    [
        (None, None, None, None), (None, None, 3, 3), (2, None, None, 4), (2, None, 3, 3),
        (16, None, None, 1), (None, "tcp://x:1", None, 1), (None, "tcp://x:1", 2, 2),
    ],
)  # fmt: skip
def test_processes_share_the_cores(monkeypatch, workers, scheduler, threads, want):
    monkeypatch.setattr(cluster, "cpu_threads", lambda: 8)
    assert threads_each(workers, scheduler, threads) == want


def test_a_gpu_is_not_shared():
    cluster.require_cpu(1, "cuda")
    cluster.require_cpu(4, "cpu")
    with pytest.raises(ConfigError, match="would crowd cuda"):
        cluster.require_cpu(2, "cuda")
