"""Which rows a cache covers and which a run takes from it: whatever the table, a row learns from
its own text's answer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logitcache
from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.joining import join
from logitcache.config.data import Columns
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.selection import held_out
from logitcache.data.source import Rows, Source, load
from logitcache.errors import AlignmentError, SpecError
from logitcache.identity import row_hashes
from logitcache.reporter import SILENT, Notes
from logitcache.stages import train as training
from logitcache.stages.job import Job, resolve
from logitcache.stages.relabelled import relabelled
from logitcache.stages.workspace import find_cache
from logitcache.store.writer import CacheWriter
from logitcache.targets.dense import DenseCodec
from tests.fake_caches import CONDITIONS, SKETCHES, plan
from tests.shortly import examples, fast

WIDTH = 3
LABELS = st.sampled_from([None, 0, 0, 1, 1, 2])
TABLES = st.lists(st.tuples(st.integers(0, 50), LABELS), min_size=2, max_size=150).filter(
    lambda table: {0, 1} <= {label for _, label in table}
)


def answer(row_hash: np.ndarray) -> np.ndarray:
    """What a teacher says of a text, as a cache gives it: f32[N, 3], row maximum 0."""
    logits = np.stack([row_hash % prime for prime in (97, 89, 83)], axis=1).astype(np.float32)
    return np.asarray(logits - logits.max(axis=1, keepdims=True))


def cache_of(rows: Rows, split: str, folder: Path) -> Cache:
    """A complete cache of these rows."""
    data = {"source": "memory", "split": split, "rows": len(rows), "digest": rows.digest()}
    of, codec = plan(len(rows), 40, WIDTH, "float32", data=data), DenseCodec(WIDTH, "float32")
    columns = {
        "row_hash": rows.row_hash,
        "label": rows.label,
        **codec.encode(answer(rows.row_hash)),
    }
    with CacheWriter(folder, of) as writer:
        for index in writer.missing:
            start, end = of.shard(index)
            shard = {name: column[start:end] for name, column in columns.items()}
            writer.write(index, shard, SKETCHES, CONDITIONS)
        writer.seal()
    return Cache.open(folder)


def loaded(
    table: list[tuple[int, int | None]], bare: list[int], lone: bool, folder: Path
) -> Source:
    rows = {"text": [f"text {text}" for text, _ in table], "label": [label for _, label in table]}
    unlabelled = {"text": [f"text {text}" for text in bare]} if bare else None
    return load({"train": rows} if lone else rows, Columns(), folder, SILENT, unlabelled=unlabelled)


@settings(max_examples=examples(8, 30))
@given(
    TABLES, st.lists(st.integers(0, 80), max_size=30), st.booleans(), st.sampled_from([None, 20])
)
def test_every_answer_that_training_takes_is_that_of_the_rows_text(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[int, int | None]],
    bare: list[int],
    lone: bool,
    limit: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    source = loaded(table, bare, lone, folder)
    if bare and not len(source.splits["unlabelled"]):  # all of them held out: a run without them
        source = loaded(table, [], lone, folder)
    try:
        job = resolve(TrainConfig(method="kd", rows=limit), source, SILENT)
    except SpecError as error:
        if "two classes" not in str(error):  # few rows may have one class
            raise
        return
    teacher = join(
        [cache_of(source.table(name), name, folder / name) for name in job.starts()], job.starts()
    )
    teacher = teacher.located(job.train.row_id, job.train.row_hash)
    texts = job.train.texts()[0]
    answers = teacher.take(job.train.row_id, row_hashes(texts), np.zeros_like(job.train.row_id))
    np.testing.assert_array_equal(answers.logits, answer(row_hashes(texts)))
    held = {
        text
        for name in ("dev", "test")
        if name in source.splits
        for text in source.splits[name].texts()[0]
    }
    assert not held & set(texts)
    whole = cache_of(source.table("train"), "train", folder / "again").take(np.arange(len(table)))
    np.testing.assert_array_equal(
        whole.logits, answer(row_hashes(f"text {text}" for text, _ in table))
    )


@settings(max_examples=examples(8, 30))
@given(TABLES, st.data())
def test_whatever_becomes_of_a_table_a_row_learns_from_its_text_or_the_run_names_it(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[int, int | None]],
    data: st.DataObject,
) -> None:
    """Another order, a subset, repeated rows, other labels, changed words; the cache is named, or
    found.
    """
    folder = tmp_path_factory.mktemp("changed")
    dumped = loaded(table, [], False, folder)
    cache = cache_of(dumped.table("train"), "train", folder / "caches" / "dumped")
    places = data.draw(
        st.permutations(range(len(table))) | st.lists(st.integers(0, len(table) - 1), min_size=2)
    )
    changed = [table[place] for place in places]
    for row in data.draw(st.lists(st.integers(0, len(places) - 1), max_size=3)):
        changed[row] = (1000 + row, changed[row][1])
    source = (
        loaded(changed, [], False, folder) if {0, 1} <= {label for _, label in changed} else dumped
    )
    try:
        config = TrainConfig(method="kd", workspace=Workspace(folder))
        job = resolve(config, replace(source, num_labels=WIDTH), SILENT)
    except SpecError as error:
        if "two classes" not in str(error):
            raise
        return
    texts = job.train.texts()[0]
    unknown = [
        int(row)
        for row, text in zip(job.train.row_id, texts, strict=True)
        if int(text.split()[1]) >= 1000
    ]
    for caches in ([], [cache.folder]):
        asked = replace(job, config=replace(config, cache=caches))
        if unknown:
            said = (
                rf"row {unknown[0]}: expected a text .*; {len(unknown)} of {len(texts)} rows"
                if caches
                else "found none"
            )
            with pytest.raises(AlignmentError if caches else SpecError, match=said):
                given_teacher(asked)
            continue
        teacher = given_teacher(asked)
        answers = teacher.take(
            job.train.row_id, job.train.row_hash, np.zeros_like(job.train.row_id)
        )
        np.testing.assert_array_equal(answers.logits, answer(row_hashes(texts)))


def given_teacher(job: Job) -> Joined:
    """A run's teacher, its rows located."""
    teacher = training._teacher(job, SILENT)
    assert teacher is not None
    return teacher.located(job.train.row_id, job.train.row_hash)


def test_a_row_at_its_place_says_nothing_where_others_of_its_text_have_moved(
    tmp_path: Path,
) -> None:
    def rows_of(texts: list[str], label: list[int]) -> Rows:
        column = pa.array(texts, pa.large_string())
        return Rows(column, None, np.array(label), np.arange(len(texts)), row_hashes(texts))

    then = rows_of(["a", "b", "a", "a"], [-1, -1, 0, -1])
    cache = cache_of(then, "train", tmp_path / "c")
    for texts, known in (("abaa", 1), ("aaab", 0)):
        now = rows_of(list(texts), [-1, -1, 1, -1])
        teacher = join([cache], {"train": 0}).located(now.row_id, now.row_hash)
        assert relabelled(teacher, now).changed == known


@settings(max_examples=examples(8, 30))
@given(st.lists(st.tuples(st.integers(0, 20), LABELS), min_size=2, max_size=40), st.data())
def test_labels_of_then_and_now_are_compared_text_by_text(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[int, int | None]],
    data: st.DataObject,
) -> None:
    """In another order too. A text that was dumped with several labels then says nothing, for which
    of its rows is which cannot be told.
    """

    def rows_of(table: list[tuple[int, int | None]]) -> Rows:
        texts = [f"text {text}" for text, _ in table]
        label = np.array([-1 if label is None else label for _, label in table])
        return Rows(
            pa.array(texts, pa.large_string()),
            None,
            label,
            np.arange(len(table)),
            row_hashes(texts),
        )

    cache = cache_of(rows_of(table), "train", tmp_path_factory.mktemp("labels") / "c")
    order = data.draw(st.permutations(range(len(table))))
    now = [(table[place][0], data.draw(LABELS)) for place in order]
    rows = rows_of(now)
    teacher = join([cache], {"train": 0}).located(rows.row_id, rows.row_hash)
    labels_of: dict[int, set[int | None]] = {}
    for text, label in table:
        labels_of.setdefault(text, set()).add(label)
    fits = [text for text, _ in now] == [text for text, _ in table]
    pairs = []
    for place, (text, label) in enumerate(now):
        if fits or len(labels_of[text]) == 1:
            before = table[place][1] if fits else next(iter(labels_of[text]))
            if before is not None and label is not None:
                pairs.append((before, label))
    found = relabelled(teacher, rows)
    assert (found.rows, found.changed) == (
        len(pairs),
        sum(before != label for before, label in pairs),
    )


def table_of(count: int) -> dict[str, list[Any]]:
    words = ("bright", "warm", "dull", "cold", "the", "film", "story", "music")
    texts = [" ".join(words[(i // 8**k) % 8] for k in range(4)) for i in range(count)]
    return {"text": texts, "label": [("neg", "pos")[i % 2] for i in range(count)]}


@pytest.mark.parametrize("lone", fast([True, False], True))
def test_a_table_in_memory_is_dumped_whole_and_trained_on_in_part(
    tmp_path: Path, checkpoint: Any, lone: bool
) -> None:
    table = table_of(120)
    data: Any = {"train": table} if lone else table
    source = held_out(logitcache.load(data, workspace=tmp_path, reporter=SILENT), SILENT)
    notes: list[str] = []
    report = logitcache.dump(
        checkpoint(),
        data,
        workspace=tmp_path,
        device="cpu",
        codec="float32",
        reporter=Notes(notes.append),
    )
    assert (report.rows, report.dev_rows) == (120, 12)
    cache = Cache.open(report.cache)
    assert (cache.row_hashes() == row_hashes(table["text"])).all()
    assert report.dev_scores["accuracy"] == pytest.approx(
        (
            cache.take(source.split("dev").row_id).logits.argmax(1) == source.split("dev").label
        ).mean()
    )
    out = logitcache.train(
        "kd",
        data,
        student="1x32",
        epochs=1,
        workspace=tmp_path,
        max_length=32,
        reporter=Notes(notes.append),
    )
    result = logitcache.study.results.read_result(out)
    assert result.train_rows == 96
    assert result.cache_rows == 120
    assert {name: set(p.row_id) for name, p in result.predictions.items() if name != "train"} == {
        name: set(source.split(name).row_id) for name in ("dev", "test")
    }
    assert result.division is not None
    assert result.division.held_out == {"dev": 12, "test": 12}
    with pytest.raises(SpecError, match="held out of the table of train"):
        logitcache.dump(
            checkpoint(),
            data,
            split="dev",
            workspace=tmp_path,
            device="cpu",
            reporter=Notes(notes.append),
        )


def test_a_run_records_how_its_rows_were_held_out_and_says_what_its_scores_cannot(
    tmp_path: Path,
) -> None:
    few, many = table_of(18), table_of(40)
    both = {
        "train": many,
        "test": {"text": [*many["text"][:2], "unseen"], "label": ["neg", "pos", "neg"]},
    }
    cases: list[tuple[Any, dict[str, int] | None, str]] = [
        ({"train": few}, {}, "too few to hold any out"),
        ({"train": many}, {"dev": 4, "test": 4}, ""),
        (
            both,
            None,
            "memory: 2 of 3 test texts also stand in train (first: test row 0): these rows do not measure "
            "generalisation",
        ),
    ]
    for data, counts, said in cases:
        notes: list[str] = []
        source = held_out(load(data, Columns(), tmp_path, SILENT), SILENT)
        job = resolve(TrainConfig(), source, Notes(notes.append))
        division = job.record()["division"]
        assert (None if division is None else division["held_out"]) == counts
        assert [said in note for note in notes] == [True] * bool(said)


def test_a_cache_of_another_draw_or_of_other_labels_is_said(
    tmp_path: Path, checkpoint: Any
) -> None:
    """A teacher that was fine-tuned then may have been trained on rows that are held out now.
    Another order of the same rows holds out the same ones.
    """
    table = table_of(120)
    dumped = logitcache.dump(checkpoint(), table, workspace=tmp_path, device="cpu", reporter=SILENT)
    corrected = {**table, "label": [*table["label"][:110], *["pos"] * 10]}
    turned = {name: column[::-1] for name, column in table.items()}
    half = {name: column[:60] for name, column in table.items()}
    for number, (data, is_said) in enumerate(
        [(table, False), (corrected, True), (turned, False), (half, True)]
    ):
        notes: list[str] = []
        logitcache.train(
            "kd",
            data,
            student="1x32",
            epochs=0.5,
            workspace=tmp_path,
            cache=dumped.cache,
            out=tmp_path / f"run-{number}",
            max_length=32,
            reporter=Notes(notes.append),
        )
        assert any("other rows may have been held out" in note for note in notes) == is_said


def test_a_seed_draws_from_one_table_and_finds_the_cache_of_its_own_draw(tmp_path: Path) -> None:
    """Rows are the same for all seeds, but a teacher that was fine-tuned for one has seen what
    another holds out.
    """
    table = load({"train": table_of(120)}, Columns(), tmp_path, SILENT).table("train")
    cache_of(table, "train", tmp_path / "caches" / "seed0")
    work = Workspace(tmp_path)
    assert len(find_cache(work, table)) == len(find_cache(work, table, source="memory")) == 120
    with pytest.raises(SpecError, match="expected a cache of these train rows, found none"):
        find_cache(work, table, source="fewrel-seed1")
