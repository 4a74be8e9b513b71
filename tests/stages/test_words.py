"""Token classification from data to verdict: a teacher and students that are tokenised differently,
all methods.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import logitcache
from logitcache.api import compare, dump, repair, train, verify_live
from logitcache.cache.cache import Cache
from logitcache.config.methods import METHODS
from logitcache.config.train import TrainConfig
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.table import TASKS
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.reporter import SILENT, Notes
from logitcache.stages.preflight import training_rows
from logitcache.student.methods import objective
from logitcache.student.model import build_student, student_tokenizer
from logitcache.student.trainer import Distiller, to_torch
from logitcache.teacher.model import LiveTeacher, load_teacher

NAMES = {"anna": "PER", "bert": "PER", "paris": "LOC", "oslo": "LOC"}
FILLERS = [
    "the",
    "went",
    "to",
    "and",
    "saw",
    "met",
    "lives",
    "in",
    "near",
    "with",
    "big",
    "old",
    "house",
]
LENGTH = 10


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words = draw.choices([*NAMES, *FILLERS], k=draw.randint(1, 12))
        made.append(
            {
                "words": words,
                "tags": [f"B-{NAMES[word]}" if word in NAMES else "O" for word in words],
            }
        )
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Data, a teacher fine-tuned on it, and its cache. The teacher reads fewer words of a row than
    its students.
    """
    folder = tmp_path_factory.mktemp("words")
    data = folder / "data"
    data.mkdir()
    for seed, (split, count) in enumerate({"train": 120, "dev": 20, "test": 30}.items()):
        (data / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows(count, seed))
        )
    notes: list[str] = []
    report = dump(
        "1x32",
        str(data),
        workspace=folder / "work",
        max_length=LENGTH,
        device="cpu",
        finetune_epochs=20,
        finetune_learning_rate=1e-2,
        shard_rows=50,
        reporter=Notes(notes.append),
    )
    (teacher,) = (folder / "work" / "teachers").iterdir()
    return {
        "folder": folder,
        "data": data,
        "report": report,
        "teacher": str(teacher),
        "notes": notes,
    }


def test_the_dump_says_what_it_did(world: dict[str, Any]) -> None:
    report, plan = world["report"], Cache.open(world["report"].cache).manifest.plan
    assert (plan.task, plan.preprocessor["kind"]) == ("token-classification", "words")
    assert report.rows == 120
    assert report.positions > 500
    assert report.scores["entity_f1"] > 0.9
    assert report.dev_scores["entity_f1"] > 0.8
    lengths = [min(len(row["words"]), LENGTH) for row in rows(20, 1)]
    assert 20 < report.dev_rows <= sum(lengths)  # words
    assert any(
        "token-classification; words: the column words, their labels: tags" in note
        for note in world["notes"]
    )


def test_answers_to_rows_without_tags_are_not_kept(world: dict[str, Any]) -> None:
    """The advice is followed: without the option it is not refused for that."""
    config = TrainConfig("base", str(world["data"]), predict=True)
    with pytest.raises(SpecError, match=r"--predict: expected a task .* found token-cl.* Leave it"):
        training_rows(config, None, SILENT)
    training_rows(replace(config, predict=False), None, SILENT)


def test_what_is_cached_is_what_the_model_says_by_hand(world: dict[str, Any]) -> None:
    teacher = load_teacher(world["teacher"], device="cpu", kind=TASKS["token-classification"])
    cache = Cache.open(world["report"].cache)
    for row, record in enumerate(rows(120, 0)[:8]):
        inputs = teacher.tokenizer(
            record["words"],
            is_split_into_words=True,
            truncation=True,
            max_length=LENGTH,
            return_tensors="pt",
        )
        logits = teacher.model(**inputs).logits[0]
        of_token = inputs.word_ids()
        answers = cache.take(np.array([row]))
        assert answers.index.tolist() == sorted({word for word in of_token if word is not None})
        for word, cached in zip(answers.index, answers.logits, strict=True):
            own = logits[of_token.index(word)]
            np.testing.assert_allclose(
                torch.tensor(cached).softmax(0), own.softmax(0).detach(), atol=2e-3
            )
        assert cache.labels(np.array([row])).tolist() == [
            cache.label_names.index(record["tags"][word]) for word in answers.index
        ]


def test_the_first_loss_is_the_live_teachers(world: dict[str, Any], tmp_path: Path) -> None:
    """The student has another tokenizer, which makes several pieces of a word."""
    kind = TASKS["token-classification"]
    source = logitcache.load(str(world["data"]), workspace=tmp_path)
    train_rows = source.split("train")
    task = kind(source.num_labels, source.label_names)
    teacher = load_teacher(world["teacher"], device="cpu", kind=kind)
    letters = replace(train_rows, text=train_rows.text.slice(0, 1).take([0] * len(train_rows)))
    tokenizer = student_tokenizer("1x32", None, letters, 40, 64, tmp_path)
    mine = prepare(tokenizer, train_rows, 64)
    assert mine.lengths().mean() > 1.2 * prepare(teacher.tokenizer, train_rows, 64).lengths().mean()
    student = build_student("1x32", "random", task, tokenizer, 64, 0)
    teachers = {
        "live": LiveTeacher(teacher, prepare(teacher.tokenizer, train_rows, LENGTH)),
        "cache": Cache.open(world["report"].cache),
    }
    losses = {}
    for name, one in teachers.items():
        batch = to_torch(Collator(mine, task, {name: one})(np.arange(40)))["batch"]
        distiller = Distiller(student, objective("kd", 0.7), mine.padding, per_token=True)
        torch.manual_seed(0)
        losses[name] = float(distiller.train()(batch)[0].detach()) / len(batch.label)
    assert losses["cache"] == pytest.approx(losses["live"], abs=2e-3)


@pytest.fixture(scope="module")
def trained(world: dict[str, Any]) -> Path:
    """A run of every method."""
    for method in METHODS:
        extra = {"cache": world["report"].cache} if method == "kd" else {}
        train(
            method,
            str(world["data"]),
            student="1x32",
            epochs=1,
            workspace=world["folder"] / "work",
            max_length=20,
            reporter=Notes(world["notes"].append),
            **extra,
        )
    return Path(world["folder"] / "work" / "runs" / "data")


def test_every_method_is_trained_and_compared(world: dict[str, Any], trained: Path) -> None:
    told = compare(trained)
    assert {row.method for row in told.rows} == set(METHODS)
    assert {row.metric for row in told.rows} == {"entity_f1"}
    assert told.evidence.scored == "test rows"  # entities are drawn by rows
    intervals = [row.difference.interval for row in told.rows if row.difference is not None]
    assert len(intervals) == len(METHODS) - 1
    assert None not in intervals
    assert f"paired bootstrap over the {told.test_rows:,} rows of test" in " ".join(told.coverage)
    assert compare(trained, metric="accuracy").evidence.scored == "test words"
    (kd,) = trained.glob("kd-*")
    result = json.loads((kd / "result.json").read_text())
    assert {"accuracy", "entity_f1", "nll"} <= set(result["metrics"]["test"])
    assert result["fidelity"]["agreement"] > 0


def test_words_that_are_cut_are_said(world: dict[str, Any], trained: Path) -> None:
    assert any("words are behind the maximum length" in note for note in world["notes"])
    assert world["report"].cut_rows > 0


def test_the_teacher_says_it_again(world: dict[str, Any]) -> None:
    cache = world["report"].cache
    told = verify_live(
        cache, 10, world["teacher"], str(world["data"]), workspace=world["folder"] / "work"
    )
    assert (told.rows, told.same_bytes, told.agrees) == (10, 10, True)


def test_a_broken_shard_is_made_again_and_answers_are_reused(
    world: dict[str, Any], tmp_path: Path
) -> None:
    settings = {
        "workspace": world["folder"] / "work",
        "max_length": LENGTH,
        "device": "cpu",
        "shard_rows": 50,
    }
    report = dump(
        world["teacher"],
        str(world["data"]),
        out=tmp_path / "c",
        reuse=world["report"].cache,
        **settings,
    )
    assert (report.teacher_rows, report.reused_rows) == (0, 120)
    whole, copy = Cache.open(world["report"].cache), Cache.open(tmp_path / "c")
    every = np.arange(120)
    assert copy.take(every).logits.tobytes() == whole.take(every).logits.tobytes()
    before = (tmp_path / "c" / "shards" / "00001.logits.arrow").read_bytes()
    (tmp_path / "c" / "shards" / "00001.logits.arrow").unlink()
    assert repair(
        tmp_path / "c", world["teacher"], str(world["data"]), workspace=tmp_path
    ).repaired == [1]
    assert (tmp_path / "c" / "shards" / "00001.logits.arrow").read_bytes() == before


def test_a_cache_of_words_does_not_teach_whole_texts(world: dict[str, Any], tmp_path: Path) -> None:
    table = {"text": ["a b", "b a"] * 30, "label": ["B-PER", "O"] * 30}
    with pytest.raises(FingerprintMismatch, match="expected answers to classification"):
        train(
            "kd", table, student="1x32", cache=world["report"].cache, workspace=tmp_path, epochs=1
        )


def test_words_in_another_order_of_rows_are_trained_on_and_renumbered_classes_are_not(
    world: dict[str, Any], tmp_path: Path
) -> None:
    lines = (world["data"] / "train.jsonl").read_text().splitlines(keepends=True)
    folders = {}
    for name, swapped in (("turned", False), ("renumbered", True)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for split in ("train", "dev", "test"):
            own = (
                lines[:0:-1]
                if split == "train"
                else [(world["data"] / f"{split}.jsonl").read_text()]
            )
            text = "".join(own)
            if swapped:
                text = (
                    text.replace("B-PER", "B-XXX")
                    .replace("B-LOC", "B-PER")
                    .replace("B-XXX", "B-LOC")
                )
            (folders[name] / f"{split}.jsonl").write_text(text)
    how: dict[str, Any] = {
        "student": "1x32",
        "cache": world["report"].cache,
        "epochs": 1,
        "max_length": 20,
    }
    notes: list[str] = []
    train(
        "kd", str(folders["turned"]), workspace=tmp_path / "w", reporter=Notes(notes.append), **how
    )
    assert any("rows 119 were found by content" in note for note in notes)
    with pytest.raises(FingerprintMismatch, match="B-"):
        train("kd", str(folders["renumbered"]), workspace=tmp_path / "w", **how)
