"""A small county whose region lies across four tiles, and what clean runs make of it."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import SIZE, Folder, smaller_squares
from tests.faults import gf1_place
from tests.faults.harm import COMMANDS, products, run

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]

PIXEL_M = 16


@pytest.fixture(scope="session")
def county(ingested, tmp_path_factory):
    """The ingested county again, on a lattice whose tiles meet in the middle of it."""
    folder = Folder(tmp_path_factory.mktemp("faults"))
    shutil.copytree(ingested.path / "county", folder.path / "county")
    text = (ingested.path / "carbonmap.toml").read_text()
    x, y = (float(v) for v in re.search(r"anchor = \[(.+), (.+)\]", text).groups())
    moved = (1024 - SIZE // 2) * PIXEL_M
    text = re.sub(r"anchor = \[.+\]", f"anchor = [{x - moved}, {y + moved}]", text)
    (folder.path / "carbonmap.toml").write_text(text)
    bands = ",".join(
        f"{b}=county/image_2020-11-15_{b}.tif" for b in ("blue", "green", "red", "nir")
    )
    folder.run("ingest", "image", "--bands", bands, "--date", "2020-11-15", "--scale", "1e-4")
    folder.run("ingest", "dem", "county/dem.tif")
    folder.run("ingest", "canopy-height", "county/canopy_height.tif")
    with pytest.MonkeyPatch.context() as patch:
        smaller_squares(patch)
        for words in dict.fromkeys(words for one in COMMANDS.values() for words in one.before):
            folder.run(*words)
    return folder


@pytest.fixture
def place(county, tmp_path):
    """A copy of the county to hurt."""
    shutil.copytree(county.path, tmp_path / "place")
    return Folder(tmp_path / "place")


@pytest.fixture(scope="session")
def unhurt(county, tmp_path_factory):
    """By command, the files that it makes when nobody hurts it, and the seconds that it takes."""
    folder = Folder(tmp_path_factory.mktemp("clean") / "place")
    shutil.copytree(county.path, folder.path)
    made = {}
    run(folder, ("--version",))  # the server, from which processes are forked, starts with it
    for name, command in COMMANDS.items():
        start = time.monotonic()
        done = run(folder, command.words)
        assert done.code == 0, done.err
        made[name] = products(folder, command), time.monotonic() - start
    return made


@pytest.fixture
def clean(unhurt):
    """By command, the files that it makes when nobody hurts it."""
    return {name: made for name, (made, _) in unhurt.items()}


@pytest.fixture
def pace(unhurt):
    """By command, the seconds that it takes on this machine."""
    return {name: seconds for name, (_, seconds) in unhurt.items()}


class Disk:
    """A file system of a given size, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path],
            capture_output=True,
            text=True,
            check=False,
        )

    def change(self, options):
        """Make it larger or smaller, or read-only."""
        done = self.mount(f"remount,{options}")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own; skipped where the system lets no file system be mounted."""
    made = Disk(tmp_path / "disk")
    made.path.mkdir()
    done = made.mount("size=64m")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield made
    subprocess.run(["umount", "-l", made.path], check=True)


@pytest.fixture
def listener():
    """A web server on this machine, and the requests that it got."""
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", hits
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def region_and_products(tmp_path_factory):
    """A region with its DEM and two GF-1 products. Do not write into it: take `spot`."""
    return gf1_place.build(tmp_path_factory.mktemp("gf1") / "place")


@pytest.fixture
def spot(region_and_products, tmp_path):
    """A copy of it to hurt."""
    return gf1_place.copy_of(region_and_products, tmp_path / "place")
