"""What a cached-KD step costs over a label-smoothing step, on two student sizes; online KD beside it.

    python benchmarks/bench_step.py [--size small] [--size distilroberta] [--rounds 5]

Every case is collate + forward + loss + backward + AdamW on the same batches, with weights, optimiser and batches of
its own. ``ls-control`` is label smoothing a second time: its ratio to ``ls`` is what this machine can resolve. Random
weights and tokens: no speed depends on them. Lengths are fixed, so every step has the same arithmetic.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import in_turn, ratio, spread, write
from transformers import BertConfig, BertForSequenceClassification

from logitcache.cache import Cache
from logitcache.data.collate import Collator
from logitcache.data.prepare import Prepared
from logitcache.data.task import Classification
from logitcache.records import Ragged
from logitcache.store.columns import Column
from logitcache.store.manifest import ROOT_COLUMNS, Plan
from logitcache.store.writer import CacheWriter
from logitcache.student.losses import soft_target
from logitcache.student.methods import METHODS, objective
from logitcache.student.trainer import Distiller, to_torch
from logitcache.targets.dense import DenseCodec
from logitcache.teacher.model import LiveTeacher, TeacherModel

ROWS, BATCH, TOKENS, CLASSES = 16384, 32, 64, 8


@dataclass(frozen=True)
class Size:
    """Layers, width and vocabulary of student and online teacher, and how many steps a block counts."""

    student: tuple[int, int, int]
    teacher: tuple[int, int, int]
    repeats: int
    settle: int


SIZES = {
    "small": Size((2, 128, 8000), (4, 256, 8000), 20, 3),
    "distilroberta": Size((6, 768, 50265), (12, 768, 50265), 2, 0),
}


def model(shape: tuple[int, int, int]) -> BertForSequenceClassification:
    layers, width, vocabulary = shape
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        num_labels=CLASSES,
    )
    return BertForSequenceClassification(config)


def rows(vocabulary: int) -> Prepared:
    generator = np.random.default_rng(0)
    ids = Ragged(generator.integers(5, vocabulary, ROWS * TOKENS).astype(np.int32), np.arange(ROWS + 1) * TOKENS)
    segment = Ragged(np.zeros(ROWS * TOKENS, np.uint8), ids.indptr)
    label = generator.integers(0, CLASSES, ROWS)
    return Prepared(np.arange(ROWS), generator.integers(-(2**62), 2**62, ROWS), label, ids, segment, 0, 0, 0)


def cache(folder: Path, prepared: Prepared) -> Cache:
    """A cache of random answers for these rows, in the shards a real one would have."""
    codec = DenseCodec(CLASSES)
    columns = (*ROOT_COLUMNS, *(Column(name, *kind) for name, kind in codec.columns().items()))
    teacher = {"label_names": [str(i) for i in range(CLASSES)]}
    plan = Plan(teacher, {}, {"rows": ROWS}, {}, {"logits": codec.to_dict()}, columns, ROWS, ROWS)
    writer = CacheWriter(folder, plan)
    logits = np.random.default_rng(1).normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
    writer.write(0, {"row_hash": prepared.row_hash, "label": prepared.label, **codec.encode(logits)}, {}, {})
    writer.seal()
    return Cache.open(folder)


def stepper(shape: tuple[int, int, int], method: str, collator: Collator) -> Callable[[], None]:
    """One training step after another, over the same places for every case."""
    distiller = Distiller(model(shape), objective(method)).train()
    optimiser = torch.optim.AdamW(distiller.parameters(), 1e-4)
    places = np.random.default_rng(2)

    def step() -> None:
        batch = to_torch(collator(places.integers(0, ROWS, BATCH)))["batch"]
        optimiser.zero_grad()
        loss, _ = distiller(batch)
        (loss / BATCH).backward()
        optimiser.step()

    return step


def microseconds(work: Callable[[], object], repeats: int = 2000) -> float:
    """Median time of a piece of work, in µs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1e6)


def added_work(prepared: Prepared, stored: Cache) -> dict[str, float]:
    """What a cached-KD step does for its target, in µs, piece by piece; and the loss of label smoothing beside its
    own.
    """
    task = Classification(CLASSES, None)
    plain, joined = Collator(prepared, task), Collator(prepared, task, {"cache": stored})
    places = np.random.default_rng(3).integers(0, ROWS, BATCH)
    batches = plain(places), joined(places)
    logits = torch.randn(BATCH, CLASSES, requires_grad=True)
    labels = torch.from_numpy(prepared.label[places])
    teacher = to_torch(batches[1])["batch"].targets["cache"].payload.logits

    goals = {name: objective(name) for name in ("kd", "ls")}

    def target(name: str, answers: torch.Tensor | None) -> torch.Tensor:
        p = METHODS[name].soft(goals[name], labels, CLASSES, answers)
        return soft_target(labels, p, goals[name].alpha, CLASSES)

    def loss(name: str, answers: torch.Tensor | None) -> Callable[[], None]:
        return lambda: goals[name].loss(logits, labels, answers).sum().backward()

    pieces = {
        "gather, hash compare, decode": microseconds(lambda: joined._ask("cache", stored, places)),
        "to torch": microseconds(lambda: to_torch(batches[1])) - microseconds(lambda: to_torch(batches[0])),
        "soft target": microseconds(lambda: target("kd", teacher)),
    }
    whole = microseconds(loss("kd", teacher))
    pieces["loss, forward and backward"] = whole - pieces["soft target"]
    return {
        **pieces,
        "total": sum(pieces.values()),
        "label smoothing: target, loss, forward and backward": microseconds(loss("ls", None)),
    }


def measure(size: Size, rounds: int, folder: Path) -> dict[str, object]:
    prepared = rows(size.student[2])
    stored, task = cache(folder, prepared), Classification(CLASSES, None)
    plain, joined = Collator(prepared, task), Collator(prepared, task, {"cache": stored})
    live = LiveTeacher(TeacherModel(model(size.teacher).eval(), None, "live", "float32"), prepared)
    cases = {
        "ls": stepper(size.student, "ls", plain),
        "kd cached": stepper(size.student, "kd", joined),
        "ls-control": stepper(size.student, "ls", plain),
        "kd online": stepper(size.student, "kd", Collator(prepared, task, {"live": live})),
    }
    work = added_work(prepared, stored)
    times = in_turn(cases, rounds, size.repeats, size.settle)
    step = spread(times["ls"])["median"]
    return {
        "student": "{}x{}, vocabulary {}".format(*size.student),
        "online_teacher": "{}x{}, vocabulary {}".format(*size.teacher),
        "step_seconds": {name: spread(blocks) for name, blocks in times.items()},
        "ratio_to_ls": {name: ratio(times, name, "ls") for name in cases if name != "ls"},
        "added_work_microseconds": work,
        "added_work_share_of_ls_step": work["total"] / 1e6 / step,
        "added_work_over_ls_share": (work["total"] - work["label smoothing: target, loss, forward and backward"])
        / 1e6
        / step,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", action="append", choices=list(SIZES))
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    setting = {"batch": BATCH, "tokens": TOKENS, "classes": CLASSES, "cached_rows": ROWS, "rounds": asked.rounds}
    measured = {}
    for name in asked.size or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = measure(SIZES[name], asked.rounds, Path(folder) / "cache")
    write("step", {"setting": setting, "sizes": measured})


if __name__ == "__main__":
    main()
