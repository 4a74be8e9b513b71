"""What every task must do, whatever it asks: positions, labels and scores. A toy task from outside
passes too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from logitcache.api import compare, load, train
from logitcache.cache.cache import Cache
from logitcache.config.data import TASKS as NAMES
from logitcache.config.teacher import DumpSettings
from logitcache.data.order import counter_hash
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.classification import check_metric
from logitcache.data.tasks.table import TASKS
from logitcache.records import LOGITS, Answers, Block, Dense, Examples
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.data.tasks_by_name import CASES, BothEnds, Case

LENGTH = 16


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(scope="module")
def examples(case: Case) -> Examples:
    return prepare(case.tokenizer, case.rows, LENGTH)


def block(case: Case, examples: Examples, seed: int = 0) -> Block:
    """Answers that are drawn, at the kept positions of all rows."""
    positions = case.task.positions(examples, np.arange(len(examples)))
    shape = (len(positions.index), case.task.num_labels)
    bits = counter_hash(seed, "answers", np.arange(shape[0] * shape[1])).reshape(shape)
    logits = (bits >> np.uint64(40)).astype(np.float32) / 2**22
    answers = Answers(examples.row_hash, positions.indptr, positions.index, {LOGITS: Dense(logits)})
    return Block(examples.row_id, 0, answers, positions.label)


def test_every_task_can_be_named() -> None:
    assert set(TASKS) == set(NAMES)
    assert all(kind.name == name for name, kind in TASKS.items())


def test_every_task_is_tried() -> None:
    """By rows of its own, in CASES of tests/data/tasks_by_name.py."""
    assert {make().task.name for make in CASES.values()} == {*TASKS, BothEnds.name}


def test_positions_are_in_their_rows(case: Case, examples: Examples) -> None:
    positions = case.task.positions(examples, np.arange(len(examples)))
    row = np.repeat(np.arange(len(examples)), np.diff(positions.indptr))
    assert len(positions.index) == positions.indptr[-1] == len(row) > 0
    assert ((positions.token >= 0) & (positions.token < examples.lengths()[row])).all()
    assert ((positions.label >= -1) & (positions.label < case.task.num_labels)).all()
    assert (positions.weight > 0).all()
    same_row = row[1:] == row[:-1]
    assert (positions.index[1:][same_row] > positions.index[:-1][same_row]).all()
    assert case.task.has_unlabelled(examples) == bool((positions.label < 0).any())
    assert (case.rows.labels_at(row, positions.index) == positions.label).all()


def test_the_positions_of_a_row_do_not_depend_on_those_beside_it(
    case: Case, examples: Examples
) -> None:
    @given(st.lists(st.integers(0, len(examples) - 1), max_size=6))
    def check(places: list[int]) -> None:
        together = case.task.positions(examples, np.array(places, np.int64))
        alone = [case.task.positions(examples, np.array([place])) for place in places]
        for name in ("index", "token", "label", "weight"):
            found = getattr(together, name)
            assert found.tolist() == [value for one in alone for value in getattr(one, name)]
        assert np.diff(together.indptr).tolist() == [len(one.index) for one in alone]

    check()


def test_scores_are_sums(case: Case, examples: Examples) -> None:
    """All rows at once, one by one in any order, and added up apart and merged: the same."""
    every = block(case, examples)
    whole, singly, half, rest = (case.task.scores() for _ in range(4))
    whole.add(every)
    for place in np.arange(len(examples))[::-1]:
        singly.add(every.rows(np.array([place])))
    middle = len(examples) // 2
    half.add(every.rows(np.arange(middle)))
    rest.add(every.rows(np.arange(middle, len(examples))))
    half.merge(rest)
    result = whole.result()
    assert result == pytest.approx(singly.result(), abs=1e-6)
    assert result == pytest.approx(half.result(), abs=1e-6)
    assert case.task.own_metric("accuracy") in result
    assert check_metric(case.task.own_metric("accuracy"), case.task) in case.task.metrics
    assert case.task.scores().result() == {}


def test_evidence_gives_the_scores_of_the_answers(case: Case, examples: Examples) -> None:
    every = block(case, examples)
    logits, label = torch.from_numpy(every.answers.logits), torch.from_numpy(every.label)
    evidence = case.task.evidence(logits, label, None)
    assert evidence.shape == (len(label), len(case.task.evidence_names) or case.task.num_labels)
    answers = replace(every.answers, payloads={LOGITS: Dense(evidence.numpy())})
    scores = case.task.scores()
    scores.add(every)
    assert case.task.score(replace(every, answers=answers)) == pytest.approx(
        scores.result(), abs=1e-6
    )
    same = case.task.evidence(logits, label, (logits.argmax(1), torch.zeros(len(label))))
    if "agrees" in case.task.evidence_names:
        assert same[:, case.task.evidence_names.index("agrees")].min() == 1
        assert same[:, case.task.evidence_names.index("kl")].abs().max() < 1e-5


def test_a_task_from_outside_is_dumped_and_learnt(
    singles_data: Path, checkpoint: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room but the table of tasks knows of it."""
    monkeypatch.setitem(TASKS, BothEnds.name, BothEnds)
    folder = Path(checkpoint())  # type: ignore[operator]
    body = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    body.save_pretrained(tmp_path / "teacher")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "teacher")
    source = replace(load(str(singles_data), workspace=tmp_path), task=BothEnds.name)
    teacher = load_teacher(str(tmp_path / "teacher"), device="cpu", kind=BothEnds)
    report = dump_split(teacher, source, "train", tmp_path / "cache", DumpSettings(48))
    assert report.positions == 2 * report.rows
    assert Cache.open(report.cache).manifest.plan.task == BothEnds.name
    named = {
        "student": str(tmp_path / "teacher"),
        "epochs": 1,
        "max_length": 32,
        "workspace": tmp_path,
    }
    for method in ("base", "kd"):
        train(method, source, **named, **({"cache": report.cache} if method == "kd" else {}))
    assert {row.method for row in compare(tmp_path / "runs").rows} == {"base", "kd"}
