"""`carbonmap ingest gf1` killed, interrupted, starved, begun twice, or in odd surroundings.

ENGINEERING C4, rows 1, 3, 5, 22, 23, 28 and 29.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from carbonmap.io import output, scenes
from tests.faults.gf1_place import (
    ALL,
    BARE,
    EDGE_PX,
    copy_of,
    hurt,
    left,
    made,
    marks,
    part,
    products,
    region,
    small_chunks,
)
from tests.faults.harm import (
    Run,
    at,
    die,
    obey_permissions,
    send_itself,
    set_variable,
    small_files,
)

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def clean(region_and_products, tmp_path_factory):
    """By the words after the command, the scenes that runs make when nobody hurts them."""
    found = {}

    def make(*words):
        if words not in found:
            folder = copy_of(region_and_products, tmp_path_factory.mktemp("clean") / "place")
            done = hurt(folder, words=(*ALL, *words))
            assert done.code == 0, done.err
            assert left(folder) == []
            found[words] = made(folder)
        return found[words]

    return make


OTHERWISE = ("--resampling", "nearest", "--overwrite")
"""Words by which scenes become other ones."""


def require_whole(folder, *kinds):
    """Every scene that is declared whole is one of these kinds, to the last byte."""
    for name in marks(folder):
        mark = region(folder) / name / scenes.MARK
        assert output.damaged(mark) == []
        held = {n: data for n, data in made(folder).items() if n.startswith(name)}
        assert any(all(kind.get(n) == data for n, data in held.items()) for kind in kinds), name


def ends_well(folder, wanted, *words):
    """The same command again gives what an undisturbed one does, and nothing lies about."""
    done = hurt(folder, words=(*ALL, *words))
    assert done.code == 0, done.err
    assert made(folder) == wanted
    assert left(folder) == []


# rows 3 and 5


def kill_at_random(folder, clean, rounds):
    """Kill the command again and again at any moment after it has begun to write."""
    draw, codes = random.Random(rounds), []
    for _ in range(rounds):
        begun = Run(folder, ALL, (small_chunks,))
        begun.until(".scene.work/owner").after(draw.uniform(0, 0.6))
        done = begun.send(signal.SIGKILL).end()
        codes.append(done.code)
        require_whole(folder, clean())
        if done.code == 0:
            shutil.rmtree(region(folder))
    assert set(codes) <= {0, -signal.SIGKILL}
    assert codes.count(0) < rounds
    ends_well(folder, clean())


def test_killed_at_random_nothing_is_half_and_the_next_run_gives_the_same_bytes(spot, clean):
    """Row 3."""
    kill_at_random(spot, clean, 10)


@pytest.mark.slow
def test_killed_fifty_times_nothing_is_half_and_the_next_run_gives_the_same_bytes(spot, clean):
    """Row 3."""
    kill_at_random(spot, clean, 50)


FEW_OR_ALL = pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)])


@FEW_OR_ALL
@pytest.mark.parametrize("words", [(), OTHERWISE])
def test_killed_before_any_rename_old_or_new_scenes_are_whole(spot, clean, words, few):
    """Row 3: in drafts, chunks, the journal, and between the old scene's end and the new mark."""
    if words:
        assert hurt(spot).code == 0
    code, kills, step = -signal.SIGKILL, 0, 29 if few else 1
    while code == -signal.SIGKILL:
        harm = (at, "os", "replace", step * kills, die)
        code = hurt(spot, harm, words=(*BARE, f"products/{products(spot)[1].name}", *words)).code
        require_whole(spot, clean(), clean(*words))
        kills += code == -signal.SIGKILL
    assert code == 0
    assert kills > 2
    ends_well(spot, clean(*words), *words)


ENDS = [
    ("carbonmap.stages.gf1.scene", "replace_folder"),
    ("carbonmap.io.files", "sync_tree"),
    ("shutil", "rmtree"),
    ("carbonmap.io.output", "write_mark"),
    ("carbonmap.io.files", "publish"),
]
"""What is called between the last block and the mark, the removal of old work included."""


@pytest.mark.parametrize("words", [(), OTHERWISE])
def test_killed_while_a_scene_gets_its_name_the_next_run_ends_the_work(spot, clean, words):
    """Row 3. With its data in place and no mark yet, a scene is none, and is not lost."""
    if words:
        assert hurt(spot).code == 0
    for module, name in ENDS:
        code = hurt(spot, (die_late, module, name), words=(*ALL, *words)).code
        assert code == -signal.SIGKILL, name
        require_whole(spot, clean(), clean(*words))
    ends_well(spot, clean(*words), *words)


def die_late(module, name):
    """Die when a function is called for the first time after publishing has begun."""
    real = output.Work.begin_publishing

    def begin(self):
        real(self)
        at(module, name, 0, die)

    output.Work.begin_publishing = begin


def test_what_a_power_cut_took_of_unfinished_work_is_made_again(spot, clean):
    """Rows 5 and 7: the journal is believed only where the chunks' bytes agree."""
    harm = (at, "carbonmap.stages.gf1.scene", "replace_folder", 0, die)
    assert hurt(spot, harm).code == -signal.SIGKILL
    for store in ("draft.zarr/counts", "draft.zarr/means", "data.zarr/image", "data.zarr/quality"):
        chunks = sorted(
            p for p in region(spot).glob(f"*/.scene.work/{store}/c/**/*") if p.is_file()
        )
        assert len(chunks) >= 4
        chunks[0].unlink()
        chunks[-1].write_bytes(b"")
        flipped = bytearray(chunks[1].read_bytes())
        flipped[-1] ^= 1
        chunks[1].write_bytes(flipped)
    ends_well(spot, clean())


@pytest.mark.parametrize("harm", [lambda p: p.write_bytes(b""), Path.unlink])
def test_what_a_power_cut_took_of_unfinished_stores_is_made_again(spot, clean, harm):
    """Row 5: files that say what a store holds, beside chunks that are as they should be."""
    cut = (at, "carbonmap.stages.gf1.scene", "replace_folder", 0, die)
    for name in ("draft.zarr", "draft.zarr/counts", "draft.zarr/light", "data.zarr/quality"):
        assert hurt(spot, cut).code == -signal.SIGKILL
        (path,) = region(spot).glob(f"*/.scene.work/{name}/zarr.json")
        harm(path)
    ends_well(spot, clean())


# row 23


def test_interrupted_anywhere_it_ends_with_130_and_goes_on(spot, clean):
    moments = [
        ("carbonmap.io.gf1", "open_product"),
        ("carbonmap.stages.gf1.raw", "scan"),
        ("carbonmap.stages.gf1.raw", "require_heights"),
        ("carbonmap.io.store", "write_block"),
        ("carbonmap.stages.gf1.scene", "replace_folder"),
        ("carbonmap.io.output", "write_mark"),
    ]
    for number, (module, function) in enumerate(moments):
        which = (signal.SIGTERM, signal.SIGINT)[number % 2]
        done = hurt(spot, (at, module, function, 0, send_itself, which))
        done.said("interrupted; run the same command again", code=130)
        require_whole(spot, clean())
        assert list(region(spot).rglob("unpacked")) == []
    ends_well(spot, clean())


def test_interrupted_from_outside_it_ends_with_130(spot, clean):
    codes = []
    for which in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        done = Run(spot, ALL, (small_chunks,)).until(".scene.work/owner").send(which).end()
        if done.code != 0:  # a busy machine may let the run end first
            done.said("run the same command again", code=130)
        codes.append(done.code)
        shutil.rmtree(region(spot))
    assert 130 in codes
    ends_well(spot, clean())


# row 22


def test_a_second_run_of_a_product_is_refused_and_one_of_another_is_not(spot, clean):
    first, other = (p.relative_to(spot.path) for p in products(spot))
    begun = Run(spot, (*BARE, first), (small_chunks,)).until(".scene.work/owner")
    begun.send(signal.SIGSTOP)
    try:
        for words in ((first,), (first, "--overwrite"), ("products", "--keep-going")):
            refused = hurt(spot, words=(*BARE, *words))
            refused.said("being written by another run", f"process {begun.pid}")
        assert hurt(spot, words=(*BARE, other)).code == 0
    finally:
        begun.send(signal.SIGCONT)
    assert begun.end().code == 0
    assert made(spot) == clean()
    assert left(spot) == []


def test_two_runs_on_products_of_one_region_at_once_both_end_well(spot, clean):
    runs = [Run(spot, (*BARE, p.relative_to(spot.path)), (small_chunks,)) for p in products(spot)]
    assert [r.end().code for r in runs] == [0, 0]
    ends_well(spot, clean())


# rows 1 and 28: the disk


FULL = [
    ("carbonmap.io.output", "_admit", 100),
    ("carbonmap.io.scenes", "create_draft", 100),
    ("carbonmap.io.store", "write_block", 400),
    ("carbonmap.io.scenes", "create", 100),
    ("carbonmap.stages.gf1.finish", "finish", 600),
    ("carbonmap.io.output", "write_mark", 1000),
]
"""Functions from which on no file may grow beyond so many bytes."""


def test_a_disk_that_fills_at_any_moment_is_one_message_and_the_same_command_goes_on(spot, clean):
    for module, function, most in FULL:
        hurt(spot, (at, module, function, 0, small_files, most)).said("make room")
        require_whole(spot, clean())
    ends_well(spot, clean())


def test_a_disk_that_fills_while_an_archive_is_unpacked_keeps_none_of_it(spot, clean):
    for product in products(spot):
        subprocess.run(
            ["tar", "-C", product, "-czf", f"{product}.tar.gz", *sorted(os.listdir(product))],
            check=True,
        )
        for file in product.iterdir():
            file.unlink()
        product.rmdir()
    hurt(spot, (at, "carbonmap.io.archives", "unpack", 0, small_files, 50_000)).said("make room")
    assert not any("unpacked" in n for n in left(spot))
    assert hurt(spot).code == 0
    assert left(spot) == []
    plain = {n: d for n, d in clean().items() if not n.endswith(scenes.MARK)}
    assert {n: d for n, d in made(spot).items() if not n.endswith(scenes.MARK)} == plain


def test_an_archive_that_may_not_be_written_is_one_message(spot):
    before = spot.products()
    for folder in (spot.path, *(p for p in spot.path.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    hurt(spot, (obey_permissions,)).said("cannot write", "ermission")
    assert spot.products() == before


def test_a_finished_scene_is_up_to_date_where_nothing_may_be_written(spot):
    assert hurt(spot).code == 0
    for folder in (spot.path, *(p for p in spot.path.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    done = hurt(spot, (obey_permissions,))
    assert (done.code, done.out.count("up to date")) == (0, 2)


def test_a_temporary_folder_that_is_gone_is_not_needed(spot, clean, tmp_path):
    gone = str(tmp_path / "gone")
    harm = [(set_variable, name, gone) for name in ("TMPDIR", "CPL_TMPDIR", "SQLITE_TMPDIR")]
    assert hurt(spot, *harm).code == 0
    assert made(spot) == clean()


# overwriting


def test_other_settings_are_refused_until_overwrite_makes_exactly_the_new_scenes(spot, clean):
    assert hurt(spot).code == 0
    words = OTHERWISE[:-1]
    hurt(spot, words=(*ALL, *words)).said("resampling: cubic → nearest", "--overwrite")
    hurt(spot, words=(*ALL, *words, "--keep-going")).said("resampling: cubic → nearest")
    assert made(spot) == clean()
    ends_well(spot, clean(*OTHERWISE), *OTHERWISE)


def test_an_old_scene_survives_an_overwrite_that_fails(spot, clean):
    """The product was cut short since, the disk fills, the run is killed: then it is mended."""
    assert hurt(spot).code == 0
    bad = products(spot)[0]
    image = part(bad, ".tiff")
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    hurt(spot, words=(*ALL, "--overwrite")).said(bad.name)
    assert made(spot) == clean()
    assert left(spot) == []
    image.write_bytes(whole)
    words = (*ALL, *OTHERWISE)
    hurt(spot, (at, "carbonmap.io.store", "write_block", 9, small_files, 400), words=words).said(
        "make room"
    )
    assert made(spot) == clean()
    assert hurt(spot, (at, "carbonmap.io.store", "write_block", 20, die), words=words).code < 0
    assert made(spot) == clean()
    ends_well(spot, clean(*OTHERWISE), *OTHERWISE)


# rows 28 and 29: names, places, clocks


def test_names_with_spaces_and_chinese_give_the_same_scenes(spot, clean, tmp_path):
    there = tmp_path / "会泽县 数据 (1) [x]*"
    there.mkdir()
    odd = copy_of(spot, there / "碳")
    (odd.path / "products").rename(odd.path / "高分 一号")
    config = odd.path / "carbonmap.toml"
    config.write_text(config.read_text("utf-8").replace('"archive"', '"存 档"'), "utf-8")
    (odd.path / "archive").rename(odd.path / "存 档")
    done = hurt(odd, words=(*BARE, "高分 一号"))
    assert done.code == 0, done.err
    assert odd.products("存 档", "demo", scenes.FOLDER) == clean()


def test_a_renamed_product_is_refused_and_makes_no_second_scene(spot):
    product = products(spot)[0]
    for file in sorted(product.iterdir()):
        file.rename(file.with_name(f"八月 会泽{file.suffix}"))
    product.rename(product.with_name("八月"))
    done = hurt(spot, words=(*BARE, "products/八月"))
    done.said("'八月 会泽', which is not the name of a product", "as in GF1_WFV3_")
    assert marks(spot) == []


def test_another_time_zone_and_locale_change_nothing(spot, clean):
    variables = {"TZ": "Asia/Shanghai", "LC_ALL": "zh_CN.UTF-8", "PYTHONPATH": str(ROOT)}
    code = (
        f"import sys; from carbonmap.io import store; store.CHUNK_PX = {EDGE_PX}; "
        f"from carbonmap.cli import main; main.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ALL],
        cwd=spot.path,
        env=os.environ | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert made(spot) == clean()


def test_a_lock_that_a_dead_run_left_is_no_hindrance(spot, clean):
    for product in products(spot):
        work = region(spot) / product.name / ".scene.work"
        work.mkdir(parents=True)
        FileLock(work / "lock").acquire().lock.release(force=True)
        (work / "owner").write_text("process 1 on nowhere\n")
    ends_well(spot, clean())
