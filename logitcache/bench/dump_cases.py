"""A teacher and its rows, loaded for measuring the inference stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from logitcache.bench import dump_phases, turns
from logitcache.bench.models import VOCABULARY, as_teacher, config_of, random_model, teacher_of
from logitcache.bench.turns import Case
from logitcache.config.bench import DumpBenchConfig
from logitcache.config.data import Columns
from logitcache.config.shapes import is_shape
from logitcache.config.teacher import DumpSettings
from logitcache.cost.flops import Shape, shape_of
from logitcache.data import source as sources
from logitcache.data.order import token_batches
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.table import refuse_others
from logitcache.errors import SpecError
from logitcache.models.load import check_device, fit_tokenizer, load_tokenizer
from logitcache.models.quiet import quiet
from logitcache.models.settings import name_pad_token
from logitcache.models.vocabulary import build_tokenizer
from logitcache.records import Examples, Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.stages.rows import named_rows
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.plan import planned

DUMP, BARE, FILE_ORDER, MAXIMUM, PIPELINE = (
    "dump",
    "bare forward",
    "file order",
    "padded to maximum",
    "pipeline",
)
BATCH = 32  # rows of the others' batches
CLASSES = 8  # of rows that are made up

Sizes: TypeAlias = Sequence[tuple[int, int]]  # rows and padded tokens of a row, batch by batch


@dataclass(frozen=True)
class Material:
    """A teacher, its rows, and the batches that each case runs over."""

    config: DumpBenchConfig
    teacher: TeacherModel
    random_head: bool
    source: Source  # of one split: a dump would ask about dev rows too, and the others do not
    rows: Examples
    settings: DumpSettings
    shards: tuple[tuple[int, int], ...]

    @cached_property
    def shape(self) -> Shape:
        return shape_of(self.teacher.model)

    @cached_property
    def lengths(self) -> Int64:
        return self.rows.lengths()

    @property
    def fence(self) -> Case:
        return turns.settled(self.teacher.model.device)

    def by_length(self, budget: int, rows: int | None = None) -> list[Int64]:
        """Batches of a token budget as a dump makes them, of all rows or the first: row places."""
        shards = self.shards if rows is None else [(0, rows)]
        batches = []
        for start, end in shards:
            batches += [start + batch for batch in token_batches(self.lengths[start:end], budget)]
        return batches

    def in_file_order(self) -> list[Int64]:
        """Batches of 32 rows as the file has them."""
        rows = np.arange(len(self.rows))
        return np.split(rows, rows[BATCH::BATCH])

    def sizes(self) -> dict[str, Sizes]:
        """Rows and padded width of the batches that each case puts to the teacher."""
        by_length = self._sizes(self.by_length(self.config.batch_tokens))
        in_order = self._sizes(self.in_file_order())
        widest = [(rows, self.settings.max_length) for rows, _ in in_order]
        return {
            DUMP: by_length,
            BARE: by_length,
            FILE_ORDER: in_order,
            MAXIMUM: widest,
            PIPELINE: in_order,
        }

    def _sizes(self, batches: Sequence[Int64]) -> Sizes:
        return [(len(batch), int(self.lengths[batch].max())) for batch in batches]


def load(config: DumpBenchConfig, folder: Path, reporter: Reporter) -> Material:
    """The teacher and the first rows of the train split. Raises SpecError, FingerprintMismatch."""
    device = check_device(config.device)
    source = _source(config, reporter)
    task = Classification(source.num_labels, source.label_names)
    if config.shape_only or is_shape(config.teacher):
        random_head = True
        teacher = _random_teacher(config, source, str(device), folder)
    else:
        teacher, random_head = teacher_of(config, task, config.max_length, str(device), reporter)
    longest = min(config.tokens or config.max_length, teacher.max_length)
    if config.tokens is not None and longest < config.tokens:
        raise SpecError(
            expected=f"at most {longest}, which the teacher takes",
            found=config.tokens,
            where="--tokens",
        )
    settings = DumpSettings(longest, config.batch_tokens, shard_rows=config.shard_rows)
    plan = planned(teacher, source, "train", settings)
    shards = tuple(map(plan.plan.shard, range(plan.plan.shard_count)))
    rows = plan.prepare(0, len(plan.rows))
    reporter.note(
        f"teacher: {teacher.name} on {device}; {len(rows):,} rows, {rows.lengths().mean():.1f} tokens each"
    )
    return Material(config, teacher, random_head, source, rows, settings, shards)


def _source(config: DumpBenchConfig, reporter: Reporter) -> Source:
    if config.tokens is None:
        source = named_rows(config, None, reporter)
        refuse_others(source, Classification)
        rows = source.table("train")
        first = np.arange(min(config.rows, len(rows)))
        return source.with_tables({"train": rows.select(first)})
    words = config.tokens - 2  # one token opens a text, one closes it
    texts = list(dump_phases.made_up(config.rows, words, words, config.seed))
    labels = (np.arange(config.rows) % CLASSES).tolist()
    columns = Columns(label_names=tuple(map(str, range(CLASSES))))
    made_up = {"train": {"text": texts, "label": labels}}
    source = sources.load(
        made_up, columns, config.workspace.data, SILENT, name=f"{config.tokens} tokens"
    )
    return source.with_tables({"train": source.table("train")})


def _random_teacher(
    config: DumpBenchConfig, source: Source, device: str, folder: Path
) -> TeacherModel:
    """A teacher of the same shape with random weights, and a tokenizer for it."""
    trust = config.trust_remote_code
    architecture = config_of(config.teacher, revision=config.revision, trust_remote_code=trust)
    tokenizer = _tokenizer(config, source, int(architecture.vocab_size), folder)
    with quiet():
        model = random_model(architecture, source.num_labels, config.seed, trust_remote_code=trust)
    names = source.label_names or tuple(f"LABEL_{i}" for i in range(source.num_labels))
    model.config.id2label = dict(enumerate(names))
    name_pad_token(model, fit_tokenizer(tokenizer, model, config.teacher).pad_token_id)
    return as_teacher(model, tokenizer, config, device)


def _tokenizer(config: DumpBenchConfig, source: Source, size: int, folder: Path) -> Any:
    """The folder's own tokenizer, else one that is learnt from the rows or knows the made-up words."""
    if config.tokens is not None:
        return dump_phases.word_tokenizer(dump_phases.WORDS, config.tokens)
    if Path(config.teacher).is_dir() and any(Path(config.teacher).glob("tokenizer*")):
        return load_tokenizer(config.teacher)
    texts, pairs = source.split("train").texts()
    return build_tokenizer(texts + (pairs or []), min(size, VOCABULARY), 512, folder / "tokenizer")
