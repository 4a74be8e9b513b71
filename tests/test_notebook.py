"""What people do in a notebook: look at answers, give models and tables in memory, break off a
cell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers

import logitcache
from logitcache.cache.shown import Answer
from logitcache.errors import AlignmentError, SpecError
from logitcache.reporter import Meter, Reporter
from tests.conftest import singles
from tests.fake_caches import make, plan

OPTIONS: dict[str, Any] = {"student": "1x16", "vocabulary": 120, "epochs": 1, "max_length": 16}


def rows(n: int = 40) -> dict[str, list[str]]:
    made = singles(n, 3)
    return {
        "text": [f"{row['text']} {i}" for i, row in enumerate(made)],
        "label": [row["label"] for row in made],
    }


class Streamed:
    """A table that hands out its columns as an arrow stream and nothing else, as polars does."""

    def __init__(self, columns: dict[str, list[str]]) -> None:
        self.table = pa.table(columns)
        self.columns = self.table.column_names

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Impatient(Reporter):
    """Somebody who presses Ctrl-C when the first part of a stage is done."""

    def advanced(self, stage: Meter) -> None:
        raise KeyboardInterrupt


def test_one_answer_is_what_take_gives(tmp_path: Path) -> None:
    cache = make(
        tmp_path / "cache",
        plan(teacher={"name": "<b>t</b>", "weights": "ab", "label_names": ["a", "b", "c"]}),
    )
    answer = cache[-2]
    assert isinstance(answer, Answer)
    assert answer.row == 8
    taken = cache.take(np.array([8]))
    assert (answer.logits == taken.logits[0]).all()
    assert answer.row_hash == f"{int(taken.row_hash[0]) % 2**64:016x}"
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.top(1)[0][0] == "abc"[int(taken.logits[0].argmax())]
    assert repr(answer).startswith("Answer(row 8, hash ")
    assert "&lt;b&gt;t&lt;/b&gt;" in cache._repr_html_()
    for row in (10, -11):
        with pytest.raises(AlignmentError, match="is not in this cache"):
            cache[row]


def test_a_table_of_answers(tmp_path: Path) -> None:
    cache = make(tmp_path / "cache", plan())
    frame = cache.to_pandas()
    assert list(frame.columns) == [
        "row",
        "row_hash",
        "label",
        "answer",
        *(f"p(class {i})" for i in range(3)),
    ]
    assert frame["row"].tolist() == list(range(10))
    logits = cache.take(np.arange(10)).logits
    assert [f"class {i}" for i in logits.argmax(1)] == frame["answer"].tolist()
    assert cache.to_pandas([7, 2])["row"].tolist() == [7, 2]


def test_results_show_themselves(finished: dict[str, Path], singles_data: Path) -> None:
    comparison = logitcache.compare(finished["base"], finished["kd"], bootstrap=100)
    assert repr(comparison).startswith("Comparison(accuracy on test: base ")
    assert "kd" in comparison._repr_html_()
    assert comparison.to_pandas()["method"].tolist() == ["base", "kd"]
    report = logitcache.check(singles_data, notify=str)
    assert "<table>" in report._repr_html_()
    assert {"kind", "count", "split"} <= set(report.to_pandas().columns)


def test_models_in_memory_are_what_their_folders_are(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = str(checkpoint())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    work = tmp_path / "work"
    report = logitcache.dump(model, rows(), tokenizer=tokenizer, workspace=work, notify=str)
    again = logitcache.dump(model, rows(), tokenizer=tokenizer, workspace=work, notify=str)
    assert (report.teacher_rows, again.teacher_rows, again.cache) == (40, 0, report.cache)
    named = logitcache.dump(folder, rows(), workspace=work, out=tmp_path / "named", notify=str)
    ours, theirs = (logitcache.Cache.open(each.cache).manifest.plan for each in (report, named))
    assert ours.teacher["weights"] == theirs.teacher["weights"]
    assert ours.preprocessor == theirs.preprocessor
    with torch.no_grad():
        model.classifier.bias += 1
    other = logitcache.dump(model, rows(), tokenizer=tokenizer, workspace=work, notify=str)
    assert other.cache != report.cache
    settings = {
        **OPTIONS,
        "student": model,
        "tokenizer": tokenizer,
        "workspace": work,
        "cache": report.cache,
    }
    run = logitcache.train("kd", rows(), notify=str, **settings)
    assert (run / "model.safetensors").is_file()
    assert str(report) == repr(report)
    assert "<table>" in report._repr_html_()


def test_a_model_without_its_tokenizer_is_refused(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(checkpoint()))
    with pytest.raises(
        SpecError, match="teacher: expected the tokenizer of a model in memory, found none"
    ):
        logitcache.dump(model, rows(), workspace=tmp_path)
    with pytest.raises(SpecError, match=r"student: expected a path, a name, an nn\.Module"):
        logitcache.train("base", rows(), student=3, workspace=tmp_path)


def test_tables_that_are_arrow_streams_are_read() -> None:
    source = logitcache.load({"train": Streamed(rows()), "test": Streamed(rows(6))}, notify=str)
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 40, "test": 6}
    assert source.label_names == ("neg", "pos")


def test_a_cell_that_is_broken_off_goes_on_when_it_is_run_again(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "workspace": tmp_path / "work",
        "max_length": 16,
        "shard_rows": 16,
        "batch_tokens": 64,
    }
    with pytest.raises(KeyboardInterrupt):
        logitcache.dump(checkpoint(), rows(), reporter=Impatient(), **asked)
    whole = logitcache.dump(checkpoint(), rows(), notify=str, **asked)
    plain = logitcache.dump(
        checkpoint(), rows(), notify=str, **{**asked, "out": tmp_path / "plain"}
    )
    opened = logitcache.Cache.open(whole.cache)
    assert opened.fingerprint == logitcache.Cache.open(plain.cache).fingerprint
    trained: dict[str, Any] = {**OPTIONS, "workspace": tmp_path / "work"}
    with pytest.raises(KeyboardInterrupt):
        logitcache.train("kd", rows(), reporter=Impatient(), **trained)
    assert not list((tmp_path / "work").rglob("result.json"))
    assert (logitcache.train("kd", rows(), notify=str, **trained) / "result.json").is_file()
