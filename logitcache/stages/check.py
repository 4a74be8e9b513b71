"""``logitcache check``: rows, and the teacher and the student that they are meant for, looked at
before anything costs time. No torch, no model, and of what lies on this machine no network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from logitcache.config.answers import answer_source
from logitcache.config.check import CheckConfig
from logitcache.config.data import LANGUAGE
from logitcache.config.shapes import is_shape
from logitcache.config.teacher import DumpSettings
from logitcache.data.characters import Lengths, fields, lengths_of, word_counts
from logitcache.data.doctor import Checkup, SplitShape, examine
from logitcache.data.findings import MEANINGS, Fault, Finding, finding_of
from logitcache.data.match import Match, shown
from logitcache.data.rows import Rows, Source
from logitcache.data.selection import held_out
from logitcache.data.spool import BLOCK_ROWS
from logitcache.data.tasks.table import TASKS
from logitcache.errors import LogitCacheError
from logitcache.models.described import Described
from logitcache.notebook import html_table
from logitcache.records import Int64
from logitcache.reporter import SILENT, Notes, Reporter
from logitcache.stages.preflight import check_labels, checkpoint, teacher_match
from logitcache.stages.rows import load
from logitcache.teacher.column import recorded

MOST_NAMES = 1000  # classes that are counted one by one in the document
NOTHING_HELD_OUT = (
    "{}: nothing is held out, which takes {}: students will be scored on the rows that they learn. Give a dev "
    "file too"
)


@dataclass(frozen=True)
class Report:
    """What ``check`` found. ``refusals`` are what `dump` or `train` would end with."""

    checkup: Checkup
    findings: tuple[Finding, ...]  # serious ones first
    # of the teacher's columns; None where no teacher is named, or it is to be trained first
    match: Match | None
    # by the model whose tokenizer counted them, and by split; none of a split without rows
    tokens: Mapping[str, Mapping[str, Lengths]]
    max_length: int
    notes: tuple[str, ...]
    refusals: tuple[LogitCacheError, ...]
    seconds: float

    @property
    def source(self) -> Source:
        return self.checkup.source

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.label_names or tuple(map(str, range(self.source.num_labels)))

    def __repr__(self) -> str:
        rows = ", ".join(f"{shape.rows:,} {shape.name}" for shape in self.checkup.splits)
        serious = sum(finding.is_serious for finding in self.findings)
        return (
            f"Report({self.source.name}: {rows}; {serious} serious findings, {len(self.findings) - serious} others, "
            f"{len(self.refusals)} refusals)"
        )

    def _repr_html_(self) -> str:
        rows = []
        for finding in self.findings:
            count = f"{finding.count:,} of {finding.of:,} {finding.unit}"
            rows.append((finding.split, count, MEANINGS[finding.fault], *first_of(finding)))
        rows += [("refused", error.kind, str(error), "", "") for error in self.refusals]
        return html_table(rows, ("split", "count", "what", "first", "text"), repr(self))

    def to_pandas(self) -> Any:
        """A pandas DataFrame of the findings, with the columns of the document's ``findings``."""
        import pandas

        return pandas.DataFrame([finding.to_dict() for finding in self.findings])

    def to_dict(self) -> dict[str, Any]:
        """The document of ``check --json``."""
        refusals = []
        for error in self.refusals:
            refusal = {"kind": error.kind, "exit_code": error.exit_code, "message": str(error)}
            refusals.append(refusal)
        return {
            "data": self.source.name,
            "task": self.source.task,
            "classes": list(self.class_names),
            "splits": {shape.name: self._split(shape) for shape in self.checkup.splits},
            "max_length": self.max_length,
            "labels": None if self.match is None else _match_document(self.match),
            "findings": [finding.to_dict() for finding in self.findings],
            "refusals": refusals,
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def _split(self, shape: SplitShape) -> dict[str, Any]:
        by_model = {}
        for model, lengths in self.tokens.items():
            if shape.name in lengths:
                by_model[model] = lengths[shape.name].to_dict()
        counted = zip(self.class_names, shape.counts.tolist(), strict=True)
        return {
            "rows": shape.rows,
            "labelled": shape.labelled,
            "held_out": shape.is_held_out,
            "classes": dict(counted) if len(shape.counts) <= MOST_NAMES else None,
            "lengths": {lengths.unit: lengths.to_dict() for lengths in shape.lengths},
            "tokens": by_model,
        }


def first_of(finding: Finding) -> tuple[str, str]:
    """Where the first row of a finding is (and what else is to be said), and its text; for a table."""
    return "; ".join(filter(None, (finding.place, finding.detail))), finding.text or ""


def _match_document(match: Match) -> dict[str, Any]:
    columns = dict(zip(match.data, match.order.tolist(), strict=True))
    return {
        "by": match.kind.value,
        "columns": columns,
        "names": list(match.names),
        "text": shown(match),
    }


@dataclass
class _Collected(Notes):
    """Keeps the notes of reading, and passes them on."""

    other: Reporter = SILENT
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.other.note(text)


def check(
    config: CheckConfig, *, source: Source | None = None, reporter: Reporter = SILENT
) -> Report:
    """Look at rows, and at what a teacher and a student would make of them.

    Raises SpecError where the rows cannot be read as asked, as `dump` and `train` do. What these
    would refuse later is in the report.
    """
    start = time.monotonic()
    collected = _Collected(other=reporter)
    source = held_out(source or load(config, collected), collected)
    if source.division is not None and not source.division.held_out:
        enough = "ten rows" if source.task in LANGUAGE else "ten rows of each of two classes"
        collected.note(NOTHING_HELD_OUT.format(source.name, enough))
    if source.answers_advice and config.teacher is None:
        collected.note(f"{source.name}: {source.answers_advice}")
    checkup = examine(source)
    refusals: list[LogitCacheError] = []
    match = None
    try:
        if TASKS[source.task].fixed_label is None:
            check_labels(source)
    except LogitCacheError as error:
        refusals.append(error)
    models = []
    for who, name in (("teacher", config.teacher), ("student", config.student)):
        try:
            if name is None or answer_source(name) is not None:
                model = None
            else:
                model = _described(name, who, collected)
            if model is not None:
                models.append(model)
            if name is not None and who == "teacher":
                match = _match(name, model, config, source, collected)
        except LogitCacheError as error:
            refusals.append(error)
    tokens, cuts = _tokens(source, models, config.max_length)
    if TASKS[source.task].self_contained:  # long texts are cut into several rows
        cuts = []
    findings = sorted((*checkup.findings, *cuts), key=lambda finding: not finding.is_serious)
    notes = tuple(collected.notes)
    seconds = time.monotonic() - start
    return Report(
        checkup=checkup,
        findings=tuple(findings),
        match=match,
        tokens=tokens,
        max_length=config.max_length,
        notes=notes,
        refusals=tuple(refusals),
        seconds=seconds,
    )


def _match(
    name: str, model: Described | None, config: CheckConfig, source: Source, reporter: Reporter
) -> Match | None:
    """How a teacher's columns, or answers that exist already, become the classes; None where that
    is not known yet. Raises what a dump raises.
    """
    answers = answer_source(name)
    if answers is not None:
        folder = config.workspace.data
        return recorded(
            answers, source, "train", DumpSettings(), config.label_map, folder, reporter
        ).match
    if model is None or TASKS[source.task].fixed_label is not None:
        return None
    match = teacher_match(model, source, config.label_map)
    if match is None:
        reporter.note(f"{name}: no trained head for {source.task}: a dump fine-tunes it first")
    return match


def _described(name: str, who: str, reporter: Reporter) -> Described | None:
    """A model's files, where they tell something: a shape has none. Raises SpecError for what is
    neither here nor, as far as it can be asked, on the hub.
    """
    model = checkpoint(who, name, None)
    if model is None and not is_shape(name):
        reporter.note(f"{name}: not looked at, for no files of it are on this machine")
    elif model is not None and model.tokenizer is None:
        reporter.note(f"{name}: its tokens are not counted, for it has no tokenizer.json")
    return model


def _tokens(
    source: Source, models: Sequence[Described], max_length: int
) -> tuple[dict[str, dict[str, Lengths]], list[Finding]]:
    """The lengths in tokens of each model with a tokenizer, and the rows that it would cut. Without
    one, the rows that have more words than fit: each is a token or more.
    """
    lengths: dict[str, dict[str, Lengths]] = {}
    findings: list[Finding] = []
    counted = [model for model in models if model.tokenizer is not None]
    for model in counted:
        limit = min(max_length, model.max_length or max_length)
        summaries = lengths.setdefault(model.name, {})
        for split, rows in source.splits.items():
            counts = token_counts(model.tokenizer, rows)
            if len(rows):
                summaries[split] = lengths_of(counts, "tokens", source, split)
            findings += _cut(source, split, counts > limit, f"at {limit} tokens of {model.name}")
    if not counted:
        for split, rows in source.splits.items():
            detail = f"they have more than {max_length} words, so more tokens than --max-length"
            findings += _cut(source, split, word_counts(rows) > max_length, detail)
    return lengths, findings


def token_counts(tokenizer: Any, rows: Rows) -> Int64:
    """Tokens of each row, special ones counted: i64[N]. Cost: that of tokenising all rows."""
    counts = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), BLOCK_ROWS):
        texts = [field[start : start + BLOCK_ROWS].to_pylist() for field in fields(rows)]
        inputs = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
        encoded = tokenizer.encode_batch_fast(inputs)
        counts[start : start + len(encoded)] = list(map(len, encoded))
    return counts


def _cut(source: Source, split: str, is_cut: Any, detail: str) -> Iterator[Finding]:
    if not is_cut.any():
        return
    yield replace(finding_of(Fault.LONG, source, split, is_cut), detail=detail)
