"""What is cached is what a model called by hand says, for every family, length, side of padding and
way of packing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.cache.cache import Cache
from logitcache.config.data import Columns
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source, load
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError
from logitcache.models.probe import find_padding
from logitcache.reporter import SILENT
from logitcache.student.methods import objective
from logitcache.student.trainer import Distiller, to_torch
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import LiveTeacher, TeacherModel, load_teacher
from tests.language.small_lms import CAUSAL, MASKED
from tests.shortly import fast

pytestmark = pytest.mark.usefixtures("whole_probes")

LENGTHS = (8, 63, 64, 65, 511)


def task_of(kind: str) -> str:
    return "masked-lm" if kind in MASKED else "causal-lm"


def made(teacher: TeacherModel, path: Path, settings: DumpSettings, tmp_path: Path) -> Source:
    source = load(str(path), Columns(task=teacher.kind.name), tmp_path, SILENT)
    return teacher.as_rows(source, settings, SILENT)


def dumped(
    folder: Path, kind: str, path: Path, tmp_path: Path, **how: Any
) -> tuple[TeacherModel, Source, Cache]:
    teacher = load_teacher(str(folder), device="cpu", kind=TASKS[task_of(kind)])
    settings = DumpSettings(codec="float32", sequences=Sequences(**how))
    source = made(teacher, path, settings, tmp_path)
    report = dump_split(teacher, source, "train", tmp_path / "cache", settings)
    return teacher, source, Cache.open(report.cache)


def by_hand(model: Any, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits: np.ndarray = (
            model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()
        )
    return logits - logits.max(1, keepdims=True)


def documents_of(tokens: dict[str, Any], row: int) -> list[np.ndarray]:
    """The tokens of each document of a row."""
    part = slice(tokens["labels"].indptr[row], tokens["labels"].indptr[row + 1])
    ids = tokens["input_ids"].values[part]
    if "position_ids" not in tokens:
        return [ids]
    return np.split(ids, np.flatnonzero(tokens["position_ids"].values[part] == 0)[1:])


SLOW = pytest.mark.slow
FAST_KINDS = ("gpt2", "gemma3_text", "bert", "modernbert")
KINDS = [
    kind if kind in FAST_KINDS else pytest.param(kind, marks=SLOW) for kind in (*CAUSAL, *MASKED)
]


@pytest.mark.parametrize(
    "keep", [pytest.param(False, marks=SLOW), True], ids=["packed", "documents"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_is_what_the_model_says_by_hand(
    kind: str, keep: bool, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """A packed row as a whole; with documents kept apart, each of them alone."""
    teacher, _, cache = dumped(lm(kind), kind, texts, tmp_path, seq_len=40, keep_documents=keep)
    tokens = cache.tokens(np.arange(len(cache)))
    for row in range(0, len(cache), 3):
        own = np.concatenate([by_hand(teacher.model, ids) for ids in documents_of(tokens, row)])
        answers = cache.take(np.array([row]))
        np.testing.assert_allclose(answers.logits, own[answers.index], atol=2e-4)


def test_a_model_that_cannot_keep_documents_apart_is_refused_by_name(
    lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """Its local layers look at near tokens alone, and one mask for all layers would let them look
    further.
    """
    with pytest.raises(
        SpecError, match=r"expected a model that can keep .*, found ModernBertForMaskedLM with sdpa"
    ):
        dumped(
            lm("modernbert", local=8),
            "modernbert",
            texts,
            tmp_path,
            seq_len=40,
            keep_documents=True,
        )


@pytest.fixture(scope="module")
def long_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of exactly so many tokens, the end token counted."""
    path = tmp_path_factory.mktemp("long") / "train.jsonl"
    rows = [
        {"text": " ".join(f"w{(n * 7 + number) % 40}" for n in range(number - 1))}
        for number in LENGTHS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


LONG = ("gpt2", "llama", "bert")  # at every length; the others at those around their limit
FAST_WAYS = (
    ("qwen3", "left", "alone"),
    ("bert", "left", "alone"),
    ("gpt2", "right", "packed"),
    ("gemma3_text", "right", "documents"),
)
WAYS = [
    way if way in FAST_WAYS else pytest.param(*way, marks=SLOW)
    for way in product(
        (*CAUSAL, "qwen2", *MASKED), ("right", "left"), ("alone", "packed", "documents")
    )
]


@pytest.mark.parametrize(("kind", "side", "way"), WAYS)
def test_the_first_loss_from_every_exact_cache_is_the_live_teachers(
    kind: str, side: str, way: str, lm: Callable[..., Path], long_texts: Path, tmp_path: Path
) -> None:
    """Rows alone, packed, and packed with their documents kept apart; and a step lowers the loss."""
    limit = 520 if kind in LONG else 66
    # transformers makes a tokenizer of Qwen2's own of whatever lies beside its configuration
    named = str(lm("llama", side=side, limit=limit)) if kind == "qwen2" else None
    teacher = load_teacher(
        str(lm(kind, side=side, limit=limit)),
        device="cpu",
        kind=TASKS[task_of(kind)],
        tokenizer=named,
    )
    how = Sequences(seq_len=min(limit, 512), pack=way != "alone", keep_documents=way == "documents")
    source = made(teacher, long_texts, DumpSettings(sequences=how), tmp_path)
    rows, task = source.split("train"), TASKS[source.task](source.num_labels, None)
    examples = prepare(teacher.tokenizer, rows, limit)
    torch.manual_seed(70)  # not the teacher's, or the student would be the teacher
    model = getattr(transformers, task.auto_model).from_config(teacher.model.config).eval()
    padding = find_padding(
        model, teacher.tokenizer, teacher.padding, rows, limit, torch.float32, per_token=True
    )
    asked, examples = replace(teacher, padding=padding), replace(examples, padding=padding)
    objects: dict[str, Any] = {"live": LiveTeacher(asked, examples)}
    for codec in ("float32", "replay", f"topk:k={task.num_labels}"):
        settings = DumpSettings(codec=codec, sequences=how)
        place = tmp_path / codec.partition(":")[0]
        objects[codec] = Cache.open(dump_split(teacher, source, "train", place, settings).cache)
    distiller = Distiller(
        model, objective("kd", 1.0), padding, per_token=True, width=task.num_labels
    )
    distiller.train()
    model.eval()
    losses = {}
    for name, one in objects.items():
        batch = to_torch(Collator(examples, task, {name: one})(np.arange(len(rows))))["batch"]
        losses[name] = distiller(batch)[0]
    live = losses.pop("live").item()
    assert live == pytest.approx(loss_by_hand(model, teacher.model, rows.tokens), rel=1e-3)
    for codec, loss in losses.items():
        assert loss.item() == pytest.approx(live, rel=1e-3), codec
    loss.backward()
    length = torch.nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )
    torch.optim.SGD(model.parameters(), 1e-3 / length.item()).step()
    assert distiller(batch)[0].item() < loss.item()


def loss_by_hand(student: Any, teacher: Any, tokens: Any) -> float:
    """The sum of H(teacher, student) over the learnt tokens, each row, or document, alone."""
    total = 0.0
    for row in range(len(tokens["labels"])):
        part = slice(tokens["labels"].indptr[row], tokens["labels"].indptr[row + 1])
        kept = torch.from_numpy(tokens["labels"].values[part] >= 0)
        p, log_q = [], []
        for ids in documents_of(dict(tokens), row):
            p.append(torch.from_numpy(by_hand(teacher, ids)).softmax(1))
            log_q.append(torch.from_numpy(by_hand(student, ids)).log_softmax(1))
        total -= float((torch.cat(p) * torch.cat(log_q)).sum(1)[kept].sum())
    return total


@pytest.mark.parametrize(
    ("kind", "attention"),
    fast(
        [("gpt2", "eager"), ("qwen3", "sdpa"), ("bert", "eager"), ("gemma3_text", "sdpa")],
        ("bert", "eager"),
        ("gemma3_text", "sdpa"),
    ),
)
def test_packed_documents_do_not_see_each_other(
    kind: str, attention: str, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """The loss of packed rows is the sum of the losses of their documents alone."""
    teacher = load_teacher(str(lm(kind)), device="cpu", kind=TASKS[task_of(kind)])
    teacher.model.set_attn_implementation(attention)
    settings = DumpSettings(codec="float32", sequences=Sequences(seq_len=40, keep_documents=True))
    source = made(teacher, texts, settings, tmp_path)
    cache = Cache.open(dump_split(teacher, source, "train", tmp_path / "cache", settings).cache)
    rows = source.split("train")
    task = TASKS[source.task](source.num_labels, None)
    everything = cache.take(np.arange(len(cache)))
    labels = torch.from_numpy(cache.labels(np.arange(len(cache))))
    packed = torch.nn.functional.cross_entropy(
        torch.from_numpy(everything.logits), labels, reduction="sum"
    )
    alone = 0.0
    for row in range(len(rows)):
        part = slice(rows.tokens["labels"].indptr[row], rows.tokens["labels"].indptr[row + 1])
        own = np.concatenate(
            [by_hand(teacher.model, ids) for ids in documents_of(dict(rows.tokens), row)]
        )
        learnt = rows.tokens["labels"].values[part].astype(np.int64)
        kept = learnt >= 0
        loss = torch.nn.functional.cross_entropy
        alone += float(
            loss(torch.from_numpy(own[kept]), torch.from_numpy(learnt[kept]), reduction="sum")
        )
    assert float(packed) == pytest.approx(alone, rel=1e-4)
    assert task.num_labels == cache.codec.width
