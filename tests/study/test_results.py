"""Result folders: read whole, or refused with the file and the reason."""

from __future__ import annotations

import json
import random
import runpy
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logitcache.errors import FingerprintMismatch, FormatError, LogitCacheError, SpecError
from logitcache.study.results import check_same_rows, check_same_task, find_results, read_result
from tests.models.mutations import change_at_random

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result, gold, answers = fakes["write_result"], fakes["gold"], fakes["answers"]


def change(folder: Path, **changes: Any) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder: Path, **columns: Any) -> None:
    table = pq.read_table(folder / "predictions.parquet")
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, folder / "predictions.parquet")


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    result = read_result(write_result(tmp_path / "kd-3", "kd", 3, accuracy=0.7))
    assert (result.method, result.seed, result.train_rows) == ("kd", 3, 3000)
    assert result.settings["alpha"] == 0.5
    assert not {"method", "seed", "out"} & set(result.settings)
    predictions = result.predictions["test"]
    assert np.array_equal(predictions.logits, answers(gold(), 0.7, 3))
    assert result.splits == {"test"}


def test_a_result_of_before_unlabelled_rows_had_none(tmp_path: Path) -> None:
    data = {"digest": "d" * 32, "train_rows": 3000}
    old = read_result(write_result(tmp_path / "old", data=data, config={"epochs": 5}))
    new = read_result(
        write_result(tmp_path / "new", data={**data, "unlabelled_rows": 7}, config={"epochs": 5})
    )
    assert (old.train_rows, old.unlabelled_rows, old.settings["unlabelled_rows"]) == (3000, 0, 0)
    assert (new.train_rows, new.unlabelled_rows, new.settings["unlabelled_rows"]) == (3000, 7, 7)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 4)]
)
def test_logits_may_be_lists_of_any_kind_and_rows_in_any_order(
    tmp_path: Path, kind: pa.DataType
) -> None:
    folder = write_result(tmp_path / "base")
    before = read_result(folder).predictions["test"]
    table = pq.read_table(folder / "predictions.parquet").take(
        np.random.default_rng(0).permutation(200)
    )
    table = table.set_column(3, "logits", table["logits"].cast(kind))
    pq.write_table(table, folder / "predictions.parquet", row_group_size=64)
    after = read_result(folder).predictions["test"]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(vars(before).values(), vars(after).values(), strict=True)
    )


def test_a_row_without_a_label_counts_nowhere(tmp_path: Path) -> None:
    labels = np.where(np.arange(200) < 50, -1, gold())
    folder = write_result(tmp_path / "base", splits={"test": (labels, answers(gold(), 0.6, 0))})
    assert read_result(folder).predictions["test"].row_id[0] == 50


def test_unnamed_labels_are_allowed(tmp_path: Path) -> None:
    result = read_result(write_result(tmp_path / "base", label_names=None))
    assert result.label_names is None
    assert result.predictions["test"].logits.shape == (200, 4)


def test_results_are_found_below_a_folder_once_and_not_inside_each_other(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    b, a = write_result(runs / "b"), write_result(runs / "deep" / "a")
    write_result(b / "first-copy")
    assert find_results([runs]) == sorted([b, a])
    assert find_results([a, runs, runs / "b" / ".." / "b"]) == sorted([b, a])


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_a_folder_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match=f"{name}: expected a result folder"):
        find_results([tmp_path / name])
    with pytest.raises(SpecError, match=name):
        read_result(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"format": "other/1"}',
        "\ud800",
    ],
)
def test_a_foreign_json_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_result(tmp_path / "base")
    (folder / "result.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(
        FormatError, match=r"base/result\.json: expected .*, found .*Train this student again"
    ):
        read_result(folder)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": "0"}, "seed"),
        ({"seed": True}, "seed"),
        ({"method": None}, "method"),
        ({"metrics": [1]}, "metrics"),
        ({"metrics": {"test": 0.5}}, "metrics.test"),
        ({"metrics": {"test": {"accuracy": float("nan")}}}, "metrics.test.accuracy"),
        ({"metrics": {"test": {"accuracy": "high"}}}, "metrics.test.accuracy"),
        ({"data": {"train_rows": 3}}, "data.digest"),
        (
            {"data": {"digest": "d", "train_rows": 3, "unlabelled_rows": None}},
            "data.unlabelled_rows",
        ),
        ({"seconds_per_step": "fast"}, "seconds_per_step"),
        ({"seconds_per_step": 10**400}, "seconds_per_step"),
        ({"rows_seen": 10**400}, "rows_seen"),
        ({"metrics": {"test": {"accuracy": 10**400}}}, "metrics.test.accuracy"),
    ],
)
def test_a_field_of_another_kind_is_named(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    folder = write_result(tmp_path / "base")
    change(folder, **changes)
    with pytest.raises(FormatError, match=f"`{field}`"):
        read_result(folder)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "base")
    document = json.loads((folder / "result.json").read_text())
    del document["rows_seen"]
    (folder / "result.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="`rows_seen`"):
        read_result(folder)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"row_id": np.zeros(200, np.int64)}, "each row_id once"),
        ({"row_id": [f"row {i}" for i in range(200)]}, "split, row_id, label and logits"),
        ({"label": np.full(200, 4)}, "labels 0 to 3"),
        ({"label": [None] + [0] * 199}, "expected"),
        ({"logits": [[0.0] * 3] * 200}, "4 logits in each row"),
        ({"logits": [[float("inf")] * 4] * 200}, "finite logits"),
    ],
)
def test_impossible_predictions_are_refused(
    tmp_path: Path, columns: dict[str, Any], expected: str
) -> None:
    folder = write_result(tmp_path / "base")
    rewrite(folder, **columns)
    with pytest.raises(FormatError, match=rf"predictions\.parquet: .*{expected}.*found"):
        read_result(folder)


def test_missing_or_foreign_predictions_are_refused(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "base")
    path = folder / "predictions.parquet"
    for content in (b"not parquet", b"", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FormatError, match=r"predictions\.parquet: expected"):
            read_result(folder)
        path.touch()
    pq.write_table(pa.table({"split": ["test"]}), path)
    with pytest.raises(
        FormatError, match=r"predictions\.parquet: expected split, row_id, label and logits"
    ):
        read_result(folder)


def test_results_of_other_data_are_refused_with_both_folders(tmp_path: Path) -> None:
    one = write_result(tmp_path / "one")
    other = write_result(tmp_path / "other", data={"digest": "e" * 32, "train_rows": 3000})
    renamed = write_result(tmp_path / "renamed", label_names=["d", "c", "b", "a"])
    results = {path.name: read_result(path) for path in (one, other, renamed)}
    check_same_task([results["one"], results["one"]])
    with pytest.raises(
        FingerprintMismatch, match=r"one and .*other to share one data_digest, found d+ and e+"
    ):
        check_same_task([results["one"], results["other"]])
    with pytest.raises(FingerprintMismatch, match=r"one and .*renamed to share one label_names"):
        check_same_task([results["one"], results["renamed"]])


def test_results_of_other_rows_are_refused_with_the_row(tmp_path: Path) -> None:
    labels = gold()
    changed = np.where(np.arange(200) == 17, (labels + 1) % 4, labels)
    one = read_result(write_result(tmp_path / "one"))
    shorter = write_result(
        tmp_path / "shorter", splits={"test": (labels[:199], answers(labels, 0.6, 0)[:199])}
    )
    other = write_result(tmp_path / "other", splits={"test": (changed, answers(labels, 0.6, 0))})
    with pytest.raises(
        FingerprintMismatch, match=r"one and .*shorter .* row 199 in the first only"
    ):
        check_same_rows([one, read_result(shorter)], "test")
    with pytest.raises(
        FingerprintMismatch,
        match=rf"one and .*other .* row 17 with label {labels[17]} in the first",
    ):
        check_same_rows([one, read_result(other)], "test")


def test_a_result_with_a_fault_is_read_or_refused(tmp_path: Path) -> None:
    """Values of another type or size, keys gone, renamed or added; 100 of them."""
    for seed in range(100):
        folder = write_result(tmp_path / str(seed), "kd", 0)
        document = json.loads((folder / "result.json").read_text())
        change_at_random(random.Random(seed), document)
        (folder / "result.json").write_text(json.dumps(document))
        with suppress(LogitCacheError):
            read_result(folder)
