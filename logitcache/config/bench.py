"""Options of ``logitcache plan`` and of the benches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from logitcache.config import embedding
from logitcache.config import student as students
from logitcache.config import teacher as teachers
from logitcache.config.answers import answer_source
from logitcache.config.data import (
    EMBEDDING,
    LANGUAGE,
    UNMEASURED_TASKS,
    Columns,
    check_unlabelled,
    data,
    data_seed,
    max_length,
    unlabelled,
)
from logitcache.config.methods import METHODS
from logitcache.config.option import Cost, option, validate
from logitcache.config.sequences import Sequences
from logitcache.config.shapes import check_shape, check_weights, is_shape
from logitcache.config.signals import signals
from logitcache.config.teacher import DumpSettings, Finetune
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError

ONLINE, CONTROL, STOCK = "kd-online", "ls-control", "trainer-ls"
CASES = (*METHODS, ONLINE, CONTROL, STOCK)  # what `bench overhead` times
PAPER_EPOCHS, PAPER_SEEDS = 30, 5  # of each of the five methods (Kobyzev et al. 2023)
CALIBRATION_SECONDS = 3.0  # of a dump's batches, and again of training steps
READ_BATCH = 32  # rows
SCOPE = "Scope"
MEASURING = "Measuring"


def price_per_hour() -> Any:
    return option(None, "Price of an hour of the machine, in any currency.", minimum=0, group=SCOPE)


def rounds(default: int, help: str) -> Any:
    return option(default, help, minimum=1, group=MEASURING)


def tokens() -> Any:
    return option(
        None,
        "With --shape-only: every row is of that many random tokens; no data is read, --rows says how many there are.",
        minimum=3,
        group=SCOPE,
    )


def shape_only() -> Any:
    return option(
        False,
        "Random weights and tokens: of a config.json (a folder, or on the hub), of a well-known model such as "
        "roberta-large, or of LAYERSxWIDTH. Only the rows' lengths are the data's.",
        group=SCOPE,
    )


def rows() -> Any:
    return option(None, "Rows of the train split that are used.", minimum=1, group=SCOPE)


@dataclass(frozen=True)
class WorkloadConfig:
    """A student, a teacher and rows, whose cost somebody wants to know."""

    student: str = students.student()
    teacher: str = option(
        "4x256", "A checkpoint's folder, a hub name, or LAYERSxWIDTH.", group=teachers.TEACHER
    )
    data: str = data()
    columns: Columns = field(default_factory=Columns)
    data_seed: int = data_seed()
    rows: int | None = rows()  # None: all
    tokens: int | None = tokens()
    classes: int = option(8, "With --tokens: how many classes there are.", minimum=2, group=SCOPE)
    max_length: int = max_length()
    batch_size: int = students.batch_size()
    accumulate: int = students.accumulate()
    group_by_length: bool = students.group_by_length()
    dtype: str = teachers.dtype()
    precision: str = students.precision()
    device: str | None = option(
        None,
        "cpu, cuda, cuda:1; with --no-calibrate also a GPU that this machine lacks, such as H100. Default: cuda if "
        "there is one.",
        group=teachers.TEACHER,
    )
    shape_only: bool = shape_only()
    init: str | None = students.init()
    student_tokenizer: str | None = students.tokenizer()
    vocabulary: int = students.vocabulary()
    revision: str | None = teachers.revision()  # the teacher's
    trust_remote_code: bool = teachers.trust_remote_code()
    seed: int = students.seed("Seed of rows, weights and the order of rows.")
    workspace: Workspace = field(default_factory=Workspace)

    def check(self) -> None:
        """Raises SpecError for what cannot be timed."""
        validate(self)
        if answer_source(self.teacher) is not None:
            raise SpecError(
                expected="a model to run",
                found=f"{self.teacher}: answers that exist already, which cost the reading of them",
                advice="Dump them, and name a model to measure or forecast.",
                where="--teacher",
            )
        check_tokens(self.tokens, self.shape_only)
        check_shape(self.teacher, "--teacher")
        check_weights(self.student, self.init)
        students.check_batch(self.batch_size, self.accumulate)


@dataclass(frozen=True)
class PlanConfig:
    """What ``logitcache plan`` is to forecast."""

    work: WorkloadConfig = field(default_factory=WorkloadConfig)
    unlabelled: str | None = unlabelled()
    split: str = option("train", "Split that is dumped.", group="Data")
    codec: str = teachers.codec()
    signals: tuple[str, ...] = signals(teachers.STORAGE)
    sequences: Sequences = field(default_factory=Sequences)
    batch_tokens: int = teachers.batch_tokens()
    shard_rows: int | None = teachers.shard_rows()
    store: str = teachers.store()
    pooling: str | None = embedding.pooling(teachers.TEACHER, Cost.COUNTED)
    finetune: Finetune = field(default_factory=Finetune)  # its folds are Self-KD's too
    rows: int | None = None  # train on so many labelled ones
    epochs: float = option(
        5.0, "Passes over the rows, of each run.", above=0, group=students.TRAINING
    )
    seeds: int = option(1, "Runs of each method.", minimum=1, group=SCOPE)
    methods: tuple[str, ...] = option(
        tuple(METHODS),
        "Method that is run; may be repeated. Default: all five; of --task embedding, embedding alone.",
        name="method",
        choices=(*METHODS, EMBEDDING),
        otherwise="Correct it; sums of terms and methods of your own are not forecast: time one by train --budget 1m.",
        group=SCOPE,
    )
    price_per_hour: float | None = price_per_hour()
    calibrate: bool = option(
        True,
        "Time some batches and steps; --no-calibrate runs nothing and uses FLOPs, a table of devices and an assumed "
        "share of their peak.",
        group=SCOPE,
    )
    seconds: float = CALIBRATION_SECONDS  # of calibrating a dump, and again a training

    @property
    def settings(self) -> DumpSettings:
        """Those of the dump that is forecast."""
        return DumpSettings(
            self.work.max_length,
            self.batch_tokens,
            self.codec,
            self.shard_rows,
            store=self.store,
            signals=self.signals,
            sequences=self.sequences,
        )

    @property
    def stored(self) -> str:
        """What is stored: a codec of logits as it is typed, or vectors alone."""
        return self.codec if self.settings.keeps_logits else "vectors"

    @property
    def is_language(self) -> bool:
        """Whether it is of a language model."""
        return self.work.columns.task in LANGUAGE

    @property
    def is_encoder(self) -> bool:
        """Whether it is of a sentence encoder."""
        return self.work.columns.task == EMBEDDING

    @property
    def costed(self) -> tuple[str, ...]:
        """The methods whose costs are forecast: a sentence encoder's are those of kd, with its own
        loss.
        """
        return ("kd",) if self.is_encoder else self.methods

    def check(self) -> None:
        """Raises SpecError for what cannot be forecast, before anything is loaded."""
        validate(self)
        check_some(self.methods, (*METHODS, EMBEDDING))
        check_unlabelled(self.work.columns.task, self.unlabelled)
        self._check_encoder()
        self.settings.check_signals()
        self.work.check()
        if self.unlabelled is not None and self.work.tokens is not None:
            raise SpecError(
                "--unlabelled: expected rows of data beside it, found --tokens. Leave one out."
            )

    def _check_encoder(self) -> None:
        """Refuse what a sentence encoder has no use for, or only one has."""
        task = self.work.columns.task
        is_trained = not is_shape(self.work.teacher) and self.finetune.mode != "always"
        own_codec = self.codec != DumpSettings.codec
        embedding.check_teacher(task, self.pooling, own_codec=own_codec, is_trained=is_trained)
        if not self.is_encoder:
            embedding.check_method(task, self.methods)
            return
        if self.methods != tuple(METHODS):
            for method in self.methods:
                embedding.check_student(task, method, self.work.student)
        if self.work.shape_only:
            raise SpecError(
                expected="models that are trained, as modules.json says how vectors are made",
                found=f"random weights, for --task {EMBEDDING}",
                advice="Leave it out.",
                where="--shape-only",
            )


def check_measured(columns: Columns) -> None:
    """Raises SpecError for a task that benches do not measure."""
    if columns.task in UNMEASURED_TASKS:
        raise SpecError(
            expected="a task whose steps are measured (classification or language models)",
            found=columns.task,
            advice=f"Leave it out; `logitcache plan --task {columns.task}` times some batches and some steps of it.",
            where="--task",
        )


def check_tokens(tokens: int | None, shape_only: bool) -> None:
    """Raises SpecError for a number of random tokens beside real weights."""
    if tokens is not None and not shape_only:
        raise SpecError(
            "--tokens: random tokens are timed with --shape-only alone. Leave it out, or add that."
        )


def check_some(methods: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Raises SpecError for no method, or an unknown one."""
    unknown = [repr(method) for method in methods if method not in names]
    if unknown or not methods:
        expected = f"some of {', '.join(names)}"
        raise SpecError(
            expected=expected,
            found=", ".join(unknown) or "none",
            advice="Correct it.",
            where="--method",
        )


@dataclass(frozen=True)
class OverheadConfig:
    """What ``bench overhead`` measures: ``rounds`` of ``steps`` steps after ``settle`` ones."""

    work: WorkloadConfig = field(default_factory=WorkloadConfig)
    methods: tuple[str, ...] = option(
        CASES,
        "Case that is measured, beside ls and its control; may be repeated. Default: all eight.",
        name="method",
        choices=CASES,
        group=MEASURING,
    )
    rounds: int = rounds(9, "Blocks of each method, in rotated order.")
    steps: int = option(10, "Steps of a block that count.", minimum=1, group=MEASURING)
    settle: int = option(2, "Steps before them that do not count.", minimum=1, group=MEASURING)
    memory: bool = option(
        True, "Measure each method's memory too, in processes of their own.", group=MEASURING
    )
    epochs: float = option(
        PAPER_EPOCHS, "Passes of each run, for total costs.", above=0, group=SCOPE
    )
    seeds: int = option(
        PAPER_SEEDS, "Runs of each method, for total costs.", minimum=1, group=SCOPE
    )
    price_per_hour: float | None = price_per_hour()

    def check(self) -> None:
        """Raises SpecError for what cannot be measured."""
        validate(self)
        check_some(self.methods, CASES)
        check_measured(self.work.columns)
        self.work.check()


@dataclass(frozen=True)
class DumpBenchConfig:
    """What ``bench dump`` measures."""

    teacher: str = option(
        "6x384",
        "A sequence classifier: a checkpoint's folder, a hub name, or a shape. One without a trained head gets a "
        "random one: weights decide no time.",
        group=teachers.TEACHER,
    )
    data: str = data()
    columns: Columns = field(default_factory=Columns)
    data_seed: int = data_seed()
    rows: int = option(2048, "First rows of the train split that are used.", minimum=1, group=SCOPE)
    tokens: int | None = tokens()
    max_length: int = max_length()
    batch_tokens: int = teachers.batch_tokens()
    shard_rows: int | None = teachers.shard_rows()
    dtype: str = teachers.dtype()
    device: str | None = teachers.device()
    rounds: int = rounds(5, "How often each case is measured, in turn.")
    memory_rows: tuple[int, ...] = option(
        (),
        "Also measure the memory of a dump of that many rows; may be repeated.",
        minimum=1,
        group=MEASURING,
    )
    shape_only: bool = shape_only()
    revision: str | None = teachers.revision()
    trust_remote_code: bool = teachers.trust_remote_code()
    seed: int = students.seed("Seed of random weights and made-up rows.")
    workspace: Workspace = field(default_factory=Workspace)

    def check(self) -> None:
        """Raises SpecError for what cannot be measured."""
        validate(self)
        check_measured(self.columns)
        check_tokens(self.tokens, self.shape_only)
        check_shape(self.teacher, "--teacher")


@dataclass(frozen=True)
class ReadBenchConfig:
    """What ``bench read`` measures. ``open_rows`` 0 leaves out the opening of a large cache, no
    ``workers`` the DataLoaders.
    """

    widths: tuple[int, ...] = option(
        (2, 64, 1000),
        "Number of classes; may be repeated.",
        name="width",
        minimum=1,
        group=MEASURING,
    )
    rows: int = option(
        200_000,
        "Rows of a cache; fewer where they exceed 200 MB.",
        minimum=READ_BATCH,
        group=MEASURING,
    )
    rounds: int = rounds(7, "Rounds, each beginning with another reader.")
    workers: tuple[int, ...] = option(
        (0, 2),
        "Workers of a DataLoader, at one width; may be repeated.",
        minimum=0,
        group=MEASURING,
    )
    open_rows: int = option(
        10_000_000, "Rows of a cache that is opened; 0 leaves it out.", minimum=0, group=MEASURING
    )
    files: int = 2000  # rows that have a file each, at most
    repeats: int = 15

    def check(self) -> None:
        """Raises SpecError for what cannot be measured."""
        validate(self)
        if not self.widths:
            raise SpecError(expected="at least one", found="none", where="--width")


@dataclass(frozen=True)
class PlanBenchConfig:
    """What ``bench plan`` measures."""

    rows: int = option(
        512, "Rows of the dump that is forecast and made.", minimum=1, group=MEASURING
    )
    steps: int = option(
        16, "Training steps that are forecast and made.", minimum=1, group=MEASURING
    )
    rounds: int = rounds(5, "How often both are made.")
    memory: bool = option(True, "Measure the memory of a training too.", group=MEASURING)
