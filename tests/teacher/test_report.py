"""What a report says of a teacher: sklearn's numbers, and what they mean for teaching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef

import logitcache
from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.division import Division
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Scores, score
from logitcache.errors import FingerprintMismatch
from logitcache.reporter import Notes
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.panel import FoldTeachers, Panel
from logitcache.teacher.report import MAX_ORDERED, DumpReport, _best_order, _near_chance, _remarks
from logitcache.teacher.summary import confidence

Checkpoint = Callable[..., Path]
# 60 rows: 25, 25, 10
SETTINGS = DumpSettings(max_length=48, batch_tokens=200, codec="float32", shard_rows=25)


def answers(folder: Path) -> Any:
    """All logits of a cache, f32[N, K]."""
    cache = Cache.open(folder)
    return cache.take(np.arange(len(cache))).logits


@given(arrays(np.float32, (4, 5), elements=st.floats(-30, 30, width=32)))
def test_confidence_is_that_of_scipy(logits: np.ndarray) -> None:
    p = softmax(logits.astype(np.float64), axis=1)
    found, top, probability = confidence(logits)
    np.testing.assert_allclose(found, entropy(p, axis=1), atol=1e-5)
    np.testing.assert_allclose(top, p.max(1), atol=1e-6)
    np.testing.assert_allclose(probability, p, atol=1e-6)


def test_the_report_is_that_of_sklearn(
    teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    report = dump_split(teacher, source, "train", tmp_path / "c", SETTINGS)
    for split, scores in (("train", report.scores), ("dev", report.dev_scores)):
        folder = tmp_path / split
        dump_split(teacher, source, split, folder, SETTINGS)
        logits, gold = answers(folder).astype(np.float64), source.split(split).label
        guess = logits.argmax(1)
        expected = {
            "accuracy": accuracy_score(gold, guess),
            "macro_f1": f1_score(gold, guess, average="macro"),
            "f1": f1_score(gold, guess),
            "mcc": matthews_corrcoef(gold, guess),
            "nll": log_loss(gold, softmax(logits, axis=1)),
        }
        assert scores == pytest.approx(expected, abs=1e-6)
    assert report.entropy == pytest.approx(
        entropy(softmax(answers(tmp_path / "c"), axis=1), axis=1).mean(), abs=1e-6
    )
    assert (report.dev_rows, report.num_labels) == (24, 2)


def test_dev_rows_without_an_answer_are_left_out_of_the_scores(
    checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    sound, broken = (load_teacher(str(checkpoint()), device="cpu") for _ in range(2))
    with torch.no_grad():
        token = broken.tokenizer.convert_tokens_to_ids("tedious")
        broken.model.get_input_embeddings().weight[token] = float("nan")  # type: ignore[index, operator]
    skipped = np.array(["tedious" in text.split() for text in source.split("dev").text.to_pylist()])
    kept = source.split("dev").select(np.flatnonzero(~skipped))
    settings = replace(SETTINGS, on_nonfinite="skip")
    report = dump_split(broken, source, "train", tmp_path / "c", settings)
    rest = replace(source, splits={**source.splits, "dev": kept})
    expected = dump_split(sound, rest, "train", tmp_path / "d", settings)
    assert 0 < skipped.sum() < 24
    assert report.dev_rows == expected.dev_rows == 24 - skipped.sum()
    assert report.dev_scores == pytest.approx(expected.dev_scores, abs=1e-6)
    said = f"{skipped.sum()} dev rows are left out of the scores on dev"
    assert [said in remark for remark in report.remarks].count(True) == 1
    assert not [remark for remark in expected.remarks if "left out" in remark]


def gold_by_teacher(
    teacher: TeacherModel | Panel, source: Source, folder: Path, flip: str, **more: Any
) -> DumpReport:
    """Dump data whose labels are the teacher's own answers, but the other class in one split."""
    splits = {}
    for name in ("train", "dev"):
        dump_split(teacher, source, name, folder / name, SETTINGS)
        guess = answers(folder / name).argmax(1).astype(np.int64)
        splits[name] = replace(source.split(name), label=1 - guess if name == flip else guess)
    return dump_split(
        teacher, replace(source, splits=splits), "train", folder / "report", SETTINGS, **more
    )


def test_a_teacher_that_is_merely_better_on_train_is_told_so() -> None:
    said = _remarks({"accuracy": 0.87}, {"accuracy": 0.73}, 1000, entropy=0.3, split="train")
    assert "begun to memorise" in said[0]
    assert (
        "memorised"
        in _remarks({"accuracy": 0.87}, {"accuracy": 0.73}, 1000, entropy=0.01, split="train")[0]
    )
    assert _remarks({"accuracy": 0.87}, {"accuracy": 0.84}, 1000, entropy=0.01, split="train") == []
    # chance
    assert _remarks({"accuracy": 0.87}, {"accuracy": 0.73}, 30, entropy=0.01, split="train") == []


def test_a_teacher_that_has_memorised_its_rows_is_told_of(
    teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    remarks = gold_by_teacher(teacher, source, tmp_path / "a", "dev").remarks
    assert "100.0% of these train rows but on 0.0% of dev" in remarks[0]
    assert "memorised" in remarks[0]
    assert gold_by_teacher(teacher, source, tmp_path / "b", "train").remarks == []
    assert gold_by_teacher(teacher, source, tmp_path / "c", "").remarks == []


def test_rows_without_labels_have_no_scores(
    teacher: TeacherModel,
    write: Callable[..., Path],
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    rows = [{"text": "the film was bright"}, {"text": "a cold story"}]
    bare = load_source(write(tmp_path / "data" / "train.jsonl", rows).parent)
    report = dump_split(teacher, bare, "train", tmp_path / "c", SETTINGS)
    assert (report.rows, report.scores, report.dev_scores) == (2, {}, {})
    assert Cache.open(tmp_path / "c").label_names == ("neg", "pos")


def test_teachers_that_never_saw_their_rows_have_memorised_none(
    folds: FoldTeachers, source: Source, tmp_path: Path
) -> None:
    report = gold_by_teacher(folds, source, tmp_path, "dev")
    assert (report.scores["accuracy"], report.dev_scores["accuracy"]) == (1, 0)
    assert (report.folds, report.remarks) == (3, [])


@pytest.fixture
def unnamed(checkpoint: Checkpoint) -> TeacherModel:
    """The tiny teacher without names for its labels."""
    made = load_teacher(str(checkpoint()), device="cpu")
    made.model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    return made


def test_columns_without_names_that_labels_contradict_are_not_dumped(
    unnamed: TeacherModel, teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    """Only where classes were matched by number, and only where another order is right."""
    with pytest.raises(
        FingerprintMismatch, match="right on 0%, with its columns in another order on 100%"
    ) as caught:
        gold_by_teacher(unnamed, source, tmp_path / "a", "train")
    assert "--label-map neg=LABEL_1,pos=LABEL_0" in str(caught.value)
    (remark,) = gold_by_teacher(unnamed, source, tmp_path / "b", "").remarks
    assert remark.endswith("matched by number")
    assert gold_by_teacher(teacher, source, tmp_path / "c", "train").remarks == []


def test_bare_numbers_that_the_teacher_does_not_agree_with_are_not_dumped(
    teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    bare = replace(source, label_names=None)
    with pytest.raises(FingerprintMismatch, match="--label-map 0=pos,1=neg"):
        gold_by_teacher(teacher, bare, tmp_path / "a", "train")


def test_numbers_that_both_sides_give_are_kept_and_a_better_order_is_said(
    unnamed: TeacherModel, source: Source, tmp_path: Path
) -> None:
    """A teacher of LABEL_0 and LABEL_1, asked for the labels 0 and 1 and wrong about every row."""
    said: list[str] = []
    gold_by_teacher(
        unnamed, replace(source, label_names=None), tmp_path, "train", reporter=Notes(said.append)
    )
    (note,) = [
        each for each in said if "right on 0%, with its columns in another order on 100%" in each
    ]
    assert "To take the columns in that order: --label-map 0=LABEL_1,1=LABEL_0" in note
    assert (answers(tmp_path / "report") == answers(tmp_path / "train")).all()


def one_hot(answers: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[answers]


def tallied(answers: np.ndarray, gold: np.ndarray, width: int) -> Scores:
    tally = Scores()
    tally.add_rows(one_hot(answers, width), gold)
    return tally


def test_classes_in_another_order_are_told_from_wrong_answers() -> None:
    """Of many classes, a third swapped leaves a correlation that looks well."""
    draw, gold = np.random.default_rng(0), np.arange(3000) % 30
    swapped = np.where(gold < 10, (gold + 1) % 10, gold)
    scores = score(one_hot(swapped, 30), gold)
    assert scores["mcc"] > 0.6
    assert (
        "right on 66.7%, but would be on 100.0%"
        in _near_chance(tallied(swapped, gold, 30), scores, "number")[0]
    )
    for wrong in (0.3, 0.8, 1.0):  # as many errors, of no order
        answers = np.where(draw.random(3000) < wrong, draw.integers(0, 30, 3000), gold)
        said = _near_chance(tallied(answers, gold, 30), score(one_hot(answers, 30), gold), "number")
        assert [("hardly more than chance" in line, "permuted" in line) for line in said] == [
            (True, False)
        ] * (wrong == 1)


def test_one_answer_to_all_rows_says_nothing_of_the_order_of_classes() -> None:
    gold = np.repeat(np.arange(4), (60, 20, 10, 10))
    answers = np.full(100, 2)
    scores = score(one_hot(answers, 4), gold)
    assert _near_chance(tallied(answers, gold, 4), scores, "number") == []


def test_a_table_of_too_many_classes_is_not_made() -> None:
    gold = np.arange(MAX_ORDERED + 1)
    assert _best_order(tallied(gold, gold, MAX_ORDERED + 1)) == 0


def test_corrected_labels_are_another_cache_that_costs_no_answer(
    teacher: TeacherModel, source: Source, tmp_path: Path
) -> None:
    """What is scored, and what a second reader finds beside the answers, are the labels of one
    dump.
    """
    before = dump_split(teacher, source, "train", tmp_path / "c", SETTINGS)
    label = source.split("train").label.copy()
    label[:7] = 1 - label[:7]
    corrected = replace(
        source, splits={**source.splits, "train": replace(source.split("train"), label=label)}
    )
    with pytest.raises(
        FingerprintMismatch,
        match=r"data\.labels .* --reuse of this cache, and no row sees the teacher",
    ):
        dump_split(teacher, corrected, "train", tmp_path / "c", SETTINGS)
    after = dump_split(
        teacher, corrected, "train", tmp_path / "d", SETTINGS, reuse=Cache.open(tmp_path / "c")
    )
    assert after.scores["accuracy"] == pytest.approx(
        (answers(tmp_path / "d").argmax(1) == label).mean()
    )
    assert (after.teacher_rows, after.scores == before.scores) == (0, False)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_rows_of_one_class_or_none_tell_nothing_of_an_order(
    unnamed: TeacherModel, source: Source, tmp_path: Path, label: int
) -> None:
    """A Matthews correlation is 0 there by convention, also of a teacher that is always right."""
    whole = source.split("train")
    data = replace(source, splits={"train": replace(whole, label=np.full(len(whole), label))})
    assert len(dump_split(unnamed, data, "train", tmp_path / "c", SETTINGS).remarks) == 1


@pytest.mark.parametrize(
    ("scale", "said"),
    [(1.0, "gives one class, pos, to 100.0% of the rows"), (0.0, "hardly differ")],
)
def test_a_teacher_that_tells_nothing_apart_is_remarked_on(
    checkpoint: Checkpoint, source: Source, tmp_path: Path, scale: float, said: str
) -> None:
    made = load_teacher(str(checkpoint()), device="cpu")
    with torch.no_grad():
        head = made.model.classifier
        head.weight.mul_(scale)  # type: ignore[union-attr, operator]
        head.bias.copy_(torch.tensor([-20.0 * scale, 20.0 * scale]))  # type: ignore[union-attr, operator]
    for split in ("train", "dev"):
        remarks = dump_split(made, source, split, tmp_path / split, SETTINGS).remarks
        assert (
            len([remark for remark in remarks if said in remark or "gives one class" in remark])
            == 1
        )
    always = replace(source.split("train"), label=np.ones(60, np.int64))
    one_class = replace(source, splits={"train": always})
    remarks = dump_split(made, one_class, "train", tmp_path / "one", SETTINGS).remarks
    assert not [remark for remark in remarks if "gives one class" in remark and scale]


def test_a_sparse_codec_of_classes_has_no_remark_on_probabilities_that_nobody_saw(
    tmp_path: Path,
) -> None:
    votes = [("good", "bad")[i % 2] for i in range(120)]
    rows = {"text": [f"row {i}" for i in range(120)], "label": votes, "vote": votes}
    report = logitcache.dump("column:vote", rows, codec="topk:k=2", out=tmp_path / "cache")
    assert not [remark for remark in report.remarks if "hardly differ" in remark]


def test_rows_that_were_cut_are_counted_and_the_first_is_named(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    texts = train_only.split("train").text.to_pylist()
    lengths = np.array([len(ids) for ids in teacher.tokenizer(texts)["input_ids"]])
    limit = int(np.median(lengths))
    assert (lengths == limit).any()  # just that long, and not cut
    cut = np.flatnonzero(lengths > limit)
    settings = replace(SETTINGS, max_length=limit)
    report = dump_split(teacher, train_only, "train", tmp_path / "c", settings)
    assert (report.cut_rows, report.first_cut) == (len(cut), cut[0])
    again = dump_split(teacher, train_only, "train", tmp_path / "c", settings)
    assert (again.cut_rows, again.first_cut, again.teacher_rows) == (len(cut), cut[0], 0)
    whole = dump_split(teacher, train_only, "train", tmp_path / "d", SETTINGS)
    assert (whole.cut_rows, whole.first_cut) == (0, None)
    assert whole.codec_bytes == 4 * whole.positions * whole.num_labels < whole.bytes


def test_a_dev_split_held_out_of_the_same_table_is_not_asked_about_again(
    teacher: TeacherModel,
    source: Source,
    rows_through: Callable[[TeacherModel], list[int]],
    tmp_path: Path,
) -> None:
    whole = source.split("train")
    dump_split(teacher, source, "train", tmp_path / "answers", SETTINGS)
    guess = answers(tmp_path / "answers").argmax(1).astype(np.int64)
    places = np.arange(0, 60, 3)
    label = guess.copy()
    label[places] = 1 - guess[places]  # right on train alone, as one that has memorised it
    table = replace(whole, label=label)
    splits = {
        "train": table.select(np.setdiff1d(np.arange(60), places)),
        "dev": table.select(places),
    }
    data = replace(
        source, splits=splits, tables={"train": table}, division=Division("by hand", {"dev": 20})
    )
    through = rows_through(teacher)
    report = dump_split(
        teacher, data, "train", tmp_path / "c", SETTINGS, reuse=Cache.open(tmp_path / "answers")
    )
    assert sum(through) == 0
    assert (report.rows, report.dev_rows, report.dev_scores["accuracy"]) == (60, 20, 0)
    assert report.scores["accuracy"] == pytest.approx(2 / 3)
    assert "100.0% of these train rows but on 0.0% of dev" in report.remarks[-1]
