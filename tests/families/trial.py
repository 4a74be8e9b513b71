"""One family put to the trial: what the package makes of its tiny model, against the model called
by hand on one row at a time.

By hand is ``model(**tokenizer(text, text_pair, truncation=True, max_length=L,
return_tensors="pt"))`` and nothing else.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from logitcache.cache.cache import Cache
from logitcache.config.data import Columns
from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source, load
from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError
from logitcache.models.probe import find_padding
from logitcache.records import Answers, Int64, Padding, Side
from logitcache.reporter import SILENT
from logitcache.student.methods import objective
from logitcache.student.model import build_student, save, student_tokenizer
from logitcache.student.trainer import Distiller
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.fake_caches import one_each
from tests.families import rows
from tests.families.zoo import LABELS, MAX_LENGTH, quiet

TOLERANCE = 1e-4  # of a probability; of a loss and of a gradient, relative to their size
BATCH_TOKENS = 400  # a padded batch of the longest rows holds six of them
STUDENT_ROWS = 12  # of one training batch
ALPHA = 0.5
RIGHT, REFUSED, WRONG, TRACEBACK = "right", "refused", "wrong", "traceback"
WORST = (RIGHT, REFUSED, WRONG, TRACEBACK)


@dataclass(frozen=True)
class Outcome:
    """What came of one trial. ``gap`` is the largest difference from by hand; None where nothing
    was to be compared.
    """

    verdict: str
    gap: float | None = None
    message: str = ""
    padding: str | None = None  # side that batches were filled on; none: rows of equal length
    # largest standard deviation of a class's probability over the rows, by hand
    spread: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class Bench:
    """A family's checkpoint, its rows, and a folder to write to."""

    name: str
    kind: str  # single or pair
    checkpoint: Path
    folder: Path

    def place(self, text: str) -> str:
        """A message without the folders of this machine."""
        return text.replace(str(self.checkpoint), self.name).replace(str(self.folder), self.name)

    def source(self) -> Source:
        data = {"train": rows.table(self.name, self.kind)}
        return load(data, Columns(), self.folder / "data", SILENT, name=f"{self.name}-{self.kind}")

    def fields(self) -> list[tuple[str, ...]]:
        """The text, or the two texts, of each row."""
        table = rows.table(self.name, self.kind)
        columns = [table[name] for name in ("text", "text_pair") if name in table]
        return list(zip(*columns, strict=True))


def worst(verdicts: Iterator[str] | list[str]) -> str:
    """The worst of some verdicts."""
    return max(verdicts, key=WORST.index)


def judge(trial: Callable[[Bench], Outcome], bench: Bench) -> Outcome:
    """The outcome of a trial; a refusal in one line or a traceback where it raised."""
    try:
        with quiet():
            return trial(bench)
    except LogitCacheError as error:
        message = bench.place(str(error))
        return Outcome(TRACEBACK if "\n" in message else REFUSED, message=message)
    except Exception as error:  # whatever a model's own code raises is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{own_words(error)} ({Path(last.filename).name})"
        return Outcome(TRACEBACK, message=bench.place(message))


def own_words(error: Exception) -> str:
    """The kind of an error and the beginning of its message, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def encoded(tokenizer: Any, fields: tuple[str, ...]) -> dict[str, Tensor]:
    """The inputs of one row, by hand: each [1, T]."""
    return dict(tokenizer(*fields, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"))


def by_hand(checkpoint: Path, fields: list[tuple[str, ...]]) -> Tensor:
    """Probabilities of each row asked alone: f32[N, K]."""
    return _by_hand(checkpoint, tuple(fields))


@lru_cache(maxsize=2)  # of single texts and of pairs, which two trials are compared with
def _by_hand(checkpoint: Path, fields: tuple[tuple[str, ...], ...]) -> Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, dtype=torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.inference_mode():
        return torch.cat([model(**encoded(tokenizer, row)).logits.softmax(-1) for row in fields])


@contextmanager
def by_hand_must_answer() -> Iterator[None]:
    """By hand may fail where the package refuses; an answer where by hand has none is no right
    answer.
    """
    try:
        yield
    except Exception as error:
        raise AssertionError(f"answered, where by hand raises {own_words(error)}") from error


def teacher_trial(bench: Bench) -> Outcome:
    """Probabilities of a cache that ``dump_split`` made, against those by hand."""
    teacher = load_teacher(str(bench.checkpoint), device="cpu")
    settings = DumpSettings(max_length=MAX_LENGTH, batch_tokens=BATCH_TOKENS, codec="float32")
    dump_split(teacher, bench.source(), "train", bench.folder / "cache", settings)
    cache = Cache.open(bench.folder / "cache")
    logits = cache.take(np.arange(rows.ROWS)).logits
    with by_hand_must_answer():
        expected = by_hand(bench.checkpoint, bench.fields())
    gap = float((torch.from_numpy(logits).softmax(-1) - expected).abs().max())
    padding = cache.manifest.plan.preparation["padding"]["side"]
    return Outcome(_verdict(gap), gap, padding=padding, spread=float(expected.std(0).max()))


def _verdict(gap: float) -> str:
    return RIGHT if gap <= TOLERANCE else WRONG


@dataclass(frozen=True)
class FixedTeacher:
    """A teacher that says the same random logits of a row whenever it is asked."""

    hashes: np.ndarray[Any, Any]
    logits: np.ndarray[Any, Any]  # f32[N, K]

    def take(self, row_id: Int64, row_hash: Int64, view: Int64) -> Answers:
        return one_each(self.hashes[row_id], self.logits[row_id])


@contextmanager
def student_named(bench: Bench) -> Iterator[None]:
    """Errors name the student, as those of a training run do."""
    try:
        yield
    except LogitCacheError as error:
        raise error.at(bench.checkpoint) from error.__cause__


def _student_and_padding(bench: Bench) -> tuple[Any, Any, Padding]:
    """A student of the checkpoint's weights, its tokenizer, and how a training run makes its
    batches.
    """
    split = bench.source().split("train")
    tokenizer = student_tokenizer(str(bench.checkpoint), None, split, 0, MAX_LENGTH, bench.folder)
    task = Classification(len(LABELS), LABELS)
    student = build_student(str(bench.checkpoint), "pretrained", task, tokenizer, MAX_LENGTH, 0)
    padding = find_padding(
        student, tokenizer, Padding.of(tokenizer), split, MAX_LENGTH, torch.float32
    )
    if padding.side is not Side.NONE:
        tokenizer.padding_side = str(padding.side)
    return student, tokenizer, padding


def student_trial(bench: Bench) -> Outcome:
    """Loss and gradient of one mixed batch in training, against the sum over rows asked one at a
    time by hand.
    """
    split = bench.source().split("train")
    soft = np.random.default_rng(0).normal(0, 2, (rows.ROWS, len(LABELS))).astype(np.float32)
    teachers = {"fixed": FixedTeacher(split.row_hash, soft)}
    with student_named(bench):
        student, tokenizer, padding = _student_and_padding(bench)
        prepared = replace(prepare(tokenizer, split, MAX_LENGTH), padding=padding)
        collator = Collator(prepared, Classification(len(LABELS), LABELS), teachers)
        batch = collator(np.arange(STUDENT_ROWS)).map(torch.from_numpy)
        summed, _ = Distiller(student, objective("kd", ALPHA), padding).train()(batch)
        summed.backward()
    with by_hand_must_answer():
        model, loss = _student_by_hand(bench, torch.from_numpy(soft))
    # not-a-number stays
    gap = float(np.max([abs(float(summed) - loss) / abs(loss), gradient_gap(student, model)]))
    return Outcome(_verdict(gap), gap, padding=str(padding.side))


def _student_by_hand(bench: Bench, soft: Tensor) -> tuple[Any, float]:
    """The model with its gradients, and the loss: both summed over the rows of the batch, asked one
    at a time.
    """
    model = AutoModelForSequenceClassification.from_pretrained(
        bench.checkpoint, dtype=torch.float32
    ).train()
    tokenizer = AutoTokenizer.from_pretrained(bench.checkpoint)
    total = 0.0
    for row, fields in enumerate(bench.fields()[:STUDENT_ROWS]):
        logits = model(**encoded(tokenizer, fields)).logits[0]
        target = ALPHA * soft[row].softmax(-1)
        target[row % len(LABELS)] += 1 - ALPHA
        loss = -(target * logits.log_softmax(-1)).sum()
        loss.backward()
        total += float(loss)
    return model, total


def gradient_gap(student: Any, model: Any) -> float:
    """Norm of the difference of two models' gradients, over the norm of the second's. A student may
    have a token more in its embeddings (one to pad with): what it learns of that token counts as
    difference.
    """
    expected = dict(model.named_parameters())
    difference, size = 0.0, 0.0
    for name, parameter in student.named_parameters():
        mine, other = _gradient(parameter), _gradient(expected[name])
        rows_more = len(mine) - len(other)
        if rows_more > 0:
            other = torch.cat([other, other.new_zeros(rows_more, *other.shape[1:])])
        difference += float((mine - other).square().sum())
        size += float(other.square().sum())
    return (difference / size) ** 0.5


def _gradient(parameter: Tensor) -> Tensor:
    """A parameter's gradient, zero where it has none; at least one dimension."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return torch.atleast_1d(gradient)


def saved_trial(bench: Bench) -> Outcome:
    """A saved student by hand, and in ``pipeline`` in batches, against the model it was made of.

    Where ``pipeline`` fails with the checkpoint itself in batches, its own way of making batches is
    at fault.
    """
    saved = bench.folder / "student"
    with student_named(bench):
        student, tokenizer, padding = _student_and_padding(bench)
        save(student, tokenizer, saved)
    with by_hand_must_answer():
        expected = by_hand(bench.checkpoint, bench.fields())
    gap = float((by_hand(saved, bench.fields()) - expected).abs().max())
    batched = _pipeline_gap(saved, bench, expected)
    largest = float(np.max([gap, batched]))  # not-a-number stays
    outcome = Outcome(_verdict(largest), largest, padding=str(padding.side))
    if gap <= TOLERANCE < batched and _pipeline_gap(bench.checkpoint, bench, expected) > TOLERANCE:
        return Outcome(
            RIGHT,
            gap,
            "by hand; `pipeline` is wrong in batches with the checkpoint itself",
            str(padding.side),
        )
    return outcome


def _pipeline_gap(folder: Path, bench: Bench, expected: Tensor) -> float:
    """Largest gap of ``pipeline``'s probabilities in batches of eight; infinite where it raises."""
    inputs = [dict(zip(("text", "text_pair"), row, strict=False)) for row in bench.fields()]
    try:
        classify = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
        answers = classify(inputs, batch_size=8, truncation=True, max_length=MAX_LENGTH)
    except Exception:  # `pipeline` does not support every model
        return float("inf")
    scores = [
        [{entry["label"]: entry["score"] for entry in row}[label] for label in LABELS]
        for row in answers
    ]
    return float((torch.tensor(scores) - expected).abs().max())


Trial = Callable[[Bench], Outcome]
TRIALS: dict[str, Trial] = {
    "teacher": teacher_trial,
    "student": student_trial,
    "saved": saved_trial,
}


def run(
    name: str, checkpoint: Path, folder: Path, trials: tuple[str, ...] = tuple(TRIALS)
) -> dict[str, Any]:
    """The outcomes of a family's trials: ``{trial: {"verdict", "single": {...}, "pair": {...}}}``."""
    results: dict[str, Any] = {}
    for trial in trials:
        outcomes = {}
        for kind in rows.KINDS:
            out = folder / f"{trial}-{kind}"
            out.mkdir(parents=True)
            outcomes[kind] = judge(TRIALS[trial], Bench(name, kind, checkpoint, out))
        verdict = worst([outcome.verdict for outcome in outcomes.values()])
        results[trial] = {
            "verdict": verdict,
            **{kind: outcome.to_dict() for kind, outcome in outcomes.items()},
        }
    return results
