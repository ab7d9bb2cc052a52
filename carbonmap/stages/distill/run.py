"""`distill`: measure a teacher, make the student, train its blocks, tune the whole, judge both."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from carbonmap import checkpoint, fields, progress
from carbonmap.checkpoint import neural, tensors
from carbonmap.checkpoint.layout import NETWORK
from carbonmap.distill import phases
from carbonmap.distill.blockwise import Blockwise
from carbonmap.distill.channels import Choice
from carbonmap.distill.phases import Inputs, Plan, Teacher
from carbonmap.errors import ModelError
from carbonmap.grid import Grid
from carbonmap.io import figures, files, output
from carbonmap.io.output import Existing, Work
from carbonmap.learning import machine
from carbonmap.learning.ranks import ALONE
from carbonmap.models.neural import Neural, as_batch, ready
from carbonmap.project import Model, Project
from carbonmap.stages import timing
from carbonmap.stages.common import Report
from carbonmap.stages.distill import report as report_
from carbonmap.stages.distill import teacher as teacher_
from carbonmap.stages.distill.settings import Distillation
from carbonmap.stages.job import Job, job_of, label_scale, publish, require_own, up_to_date
from carbonmap.stages.learn import prepare
from carbonmap.stages.learn import run as learn
from carbonmap.stages.learn.keep import LOG
from carbonmap.stages.learn.prepare import Setup
from carbonmap.stages.learn.run import Learned
from carbonmap.stages.patches import Prefetched
from carbonmap.types import Json

HELD_PATCHES = 64
"""On which blocks are reported and the student's means settled; none is trained on in blocks."""

BASES, STUDENT, TUNING = "bases.safetensors", "student.safetensors", "tuning"
"""In the work folder: what measuring, training of blocks and tuning leave."""

TABLE, CURVES = "distillation.json", "explained_variance.png"


@dataclass(frozen=True)
class Task:
    """One distillation under way.

    Args:
        job: land, labels and settings of the teacher's kind.
        settings: of the distillation.
        folder: of the teacher.
        card: the teacher's.
        model: the teacher as it draws maps.
        device: torch's name of what computes.
        work: what is done of it.
    """

    job: Job
    settings: Distillation
    folder: Path
    card: Json
    model: Neural
    device: str
    work: Work

    @property
    def like(self) -> Model:
        """Settings of the teacher."""
        return self.job.project.model


def distill(
    project: Project,
    region: str,
    grid: Grid,
    dates: Sequence[str],
    labels: Path,
    out: Path,
    *,
    teacher: Path,
    settings: Distillation,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
    device: str = "cpu",
) -> Report:
    """Distil a model into a smaller one; a run that was stopped goes on by the same call.

    Args:
        project: the archive, the split, and how the student is tuned (`model.training`).
        region: name of the region in the archive.
        grid: the region's.
        dates: periods of the images that the teacher learned from.
        labels: folder of the teacher's labels.
        out: folder of the student, a model as any other.
        teacher: folder of the teacher.
        settings: of the distillation.
        mask: forest mask that the teacher learned in.
        existing: what to do about a model made otherwise.
        device: that networks compute on.

    Raises:
        ModelError: the teacher cannot be distilled, or learned from other land than is given here.
        MissingInput: labels, layers or images are not there.
    """
    device = machine.device_name(device)
    if out.resolve() == teacher.resolve():
        raise ModelError(
            f"the student would replace its teacher in {str(teacher)!r}; give another folder by -o"
        )
    require_own(out)
    found = checkpoint.load(teacher, device=device)
    model = teacher_.require_kind(teacher, found)
    phases.teacher_of(model.learner, settings.parts)  # refused before anything is read
    like = teacher_.settings_like(project.model, found.card)
    project = dataclasses.replace(project, model=like)
    job = job_of(project, region, grid, dates, labels, mask)
    teacher_.require_fit(teacher, found.card, job)
    more = {"teacher": found.sha256, "distillation": dataclasses.asdict(settings)}
    job = dataclasses.replace(job, origin=job.origin | {"stage": "distill"} | more)
    with output.claim(out / checkpoint.MARK, job.origin, existing) as work:
        if work is None:
            return up_to_date(out)
        task = Task(job, settings, teacher, found.card, model, device, work)
        facts, learned = _distilled(task)
        return _published(task, out, facts | {"sha256": found.sha256}, learned)


def _distilled(task: Task) -> tuple[Json, Learned]:
    """All phases that are left: what is told of them, and the tuned student."""
    work = task.work
    with machine.threads(task.like.training.threads):
        setup = _setup(task)
        if "teacher" not in work.done:
            progress.say("judging the teacher")
            work.record("teacher", _judged(setup, task.model))
        teacher = phases.teacher_of(setup.learner, task.settings.parts)
        plan = _planned(task, setup, teacher)
        spec = phases.student_spec(teacher, plan.choices)
        like = teacher_.settings_like(task.like, task.card, spec.to_json())
        if "student" not in work.done:
            _begin_student(task, setup, teacher, plan, like)
        learned = _tuned(task, like)
    progress.say("judging the student")
    student = dataclasses.replace(task.model, learner=ready(learned.learner))
    return report_.facts(
        settings=task.settings,
        choices=plan.choices,
        kept=[phases.kept(choice, spec) for choice in plan.choices],
        blocks=work.done["student"]["layers"],
        parameters=(
            phases.parameters(teacher.network),
            phases.parameters(phases.teacher_of(learned.learner, task.settings.parts).network),
        ),
        errors=(work.done["teacher"], _judged(setup, student)),
        times=_times(task, setup, student),
    ), learned


def _setup(task: Task) -> Setup:
    """The teacher as it learned, its norms apart from its convolutions, with patches and exam."""
    _, sampler = task.job.split()
    start = teacher_.starter(task.folder / NETWORK)
    scale, folder = label_scale(task.job.labels), task.work.folder / TUNING
    found = prepare.setup_of(
        task.like, sampler, task.job.stacks, scale, folder, task.device, ALONE, start
    )
    teacher_.require_norm(task.folder, task.model.norm, found.source.norm)
    source = dataclasses.replace(found.source, norm=task.model.norm)
    setup = dataclasses.replace(found, source=source)
    setup.learner.network.to(task.device)
    return setup


def _times(task: Task, setup: Setup, student: Neural) -> dict[str, float]:
    """Seconds a tile before and after, on the land with most held-out pixels."""
    sampler, stack = setup.exam.sampler, setup.exam.stacks[0]
    both = {"before": task.model, "after": student}
    part = timing.spot(sampler, timing.TILE_PX)
    return timing.seconds(both, stack, sampler.grid, part, task.device)


def _judged(setup: Setup, model: Neural) -> Json:
    """Errors of a model's maps, by as much held-out land as a card tells of."""
    most = learn.CARD_DRAWN_PX if model.generative else learn.CARD_PX
    return setup.exam.judge(model, most).to_json(model.scale)


def _planned(task: Task, setup: Setup, teacher: Teacher) -> Plan:
    """Channels and bases, measured where no earlier run did; read back in either case."""
    work, path = task.work, task.work.folder / BASES
    if "channels" not in work.done:
        count = -(-task.settings.patches // setup.training.batch)
        seen = progress.track(
            _inputs(setup, teacher, range(count), "measure"), "measuring features", count
        )
        plan = phases.plan_of(teacher, seen, task.settings.variance)
        tensors.write(path, phases.packed(plan.bases))
        work.record("channels", {"choices": [choice.to_json() for choice in plan.choices]})
    choices = [Choice.from_json(held) for held in work.done["channels"]["choices"]]
    return Plan(tuple(choices), phases.unpacked(tensors.read(path)))


def _begin_student(task: Task, setup: Setup, teacher: Teacher, plan: Plan, like: Model) -> None:
    """Project the teacher's weights, and train block after block."""
    settings, batch = task.settings, setup.training.batch
    learner = prepare.fresh(like)
    student = phases.teacher_of(learner, settings.parts).network.to(task.device)
    measured, more = -(-settings.patches // batch), -(-HELD_PATCHES // batch)
    total = phases.count_blocks(teacher) * settings.block_steps
    held = list(_inputs(setup, teacher, range(measured, measured + more), "held"))
    phases.project(teacher, student, plan, held)
    steps = range(measured + more, measured + more + total)
    inputs = _inputs(setup, teacher, steps, "blocks")
    how = Blockwise(settings.block_steps, settings.block_rate)
    seed = _key(setup, "decoders")
    trained = phases.blockwise(teacher, student, plan, inputs, held, how, seed)
    told = progress.track(trained, "training blocks", phases.count_blocks(teacher))
    layers = [layer.to_json() for layer in itertools.chain.from_iterable(told)]
    tensors.write(task.work.folder / STUDENT, student.state_dict())
    task.work.record("student", {"layers": layers})


def _inputs(setup: Setup, teacher: Teacher, steps: range, use: str) -> Iterator[Inputs]:
    """What the networks are given at these steps, read while they compute."""
    with Prefetched(setup.source.batch, steps) as batches:
        yield from teacher.inputs((as_batch(*batch) for batch in batches), _key(setup, use))


def _key(setup: Setup, use: str) -> int:
    return fields.field_key(setup.settings.seed, "distill", use)


def _tuned(task: Task, like: Model) -> Learned:
    """The whole student after the ordinary training loop, from where its blocks have come."""
    folder = task.work.folder / TUNING
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    _, sampler = task.job.split()
    start = teacher_.starter(task.work.folder / STUDENT)
    scale, device = label_scale(task.job.labels), task.device
    return learn.fit(
        like, sampler, task.job.stacks, scale, folder, device, ALONE, start, norm=task.model.norm
    )


def _published(task: Task, out: Path, facts: Json, learned: Learned) -> Report:
    """Write the student's folder, its card last."""
    stands, _ = task.job.split()
    task.work.begin_publishing()  # only now, so that the old model outlives a run that fails
    log, table, picture = out / LOG, out / TABLE, out / CURVES
    files.write_text(log, learned.log.read_text(encoding="utf-8"))
    files.write_json(table, facts)
    figures.draw_explained_variance(
        picture,
        [figures.Explained(**curve) for curve in report_.curves(facts)],
        facts["variance"],
        f"{task.folder.name} → {out.name}",
    )
    weights = neural.write(out, learned.learner, task.like.storage)
    card = learned.facts | {"distilled_from": report_.short(facts)}
    told = publish(task.job, task.work, out, stands, card, [weights, log, table, picture])
    return Report(f"{told.text}\n{report_.text(facts)}", told.data)
