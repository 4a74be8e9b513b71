"""The bench of the inference stage: what it measures is what it says, whatever the times are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.bench import document, dump_phases
from logitcache.bench import dump as dumping
from logitcache.bench.dump import CASES, DumpBenchConfig, bench
from logitcache.bench.dump_cases import (
    BARE,
    CLASSES,
    DUMP,
    FILE_ORDER,
    MAXIMUM,
    PIPELINE,
    Material,
    load,
)
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.report.terminal import bench_text
from logitcache.reporter import SILENT, Notes
from tests.shortly import slow

COMMAND = ["logitcache", "bench", "dump"]


@pytest.fixture(scope="module", autouse=True)
def _known_peak() -> Iterator[None]:
    """The machine's best is dump_document at once: it takes half a second to find out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumping, "matrix_peak", lambda device, dtype: 1e11)
        yield


@pytest.fixture
def shapes() -> Iterator[Callable[[Material], list[tuple[int, int]]]]:
    """``shapes(material)``: [rows, tokens] of each forward call from now on, a list that grows."""
    handles = []

    def watch(material: Material) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def look(module: Any, args: Any, kwargs: Any) -> None:
            seen.append(tuple(kwargs["input_ids"].shape))

        handles.append(material.teacher.model.register_forward_pre_hook(look, with_kwargs=True))
        return seen

    yield watch
    for handle in handles:
        handle.remove()


def test_a_document_holds_every_case_and_can_be_read_back(
    dump_document: dict[str, Any], tmp_path: Path
) -> None:
    document.write(tmp_path / "dump.json", dump_document)
    assert document.read(tmp_path / "dump.json") == dump_document
    assert dump_document["complete"]
    assert [case["name"] for case in dump_document["cases"]] == list(CASES)
    for case in dump_document["cases"]:
        assert case["error"] is None
        assert case["rows_per_second"] == pytest.approx(60 / case["seconds"]["median"])
        assert case["ratio_to_dump"]["rounds"] == 2
    assert dump_document["cases"][0]["ratio_to_dump"]["median"] == 1
    assert set(dump_document["peak"]["share"]) == set(CASES)
    assert dump_document["memory"] == []


def test_the_table_says_how_sure_its_intervals_are(dump_document: dict[str, Any]) -> None:
    assert (
        "\nIntervals hold the true median with 50 % confidence at least (2 rounds)."
        in bench_text(dump_document)
    )
    cases = [
        {**case, "ratio_to_dump": {**case["ratio_to_dump"], "confidence": 0.0, "rounds": 1}}
        for case in dump_document["cases"]
    ]
    once = {**dump_document, "cases": cases, "dump_to_bare_forward": None}
    assert "\nIntervals hold nothing: one round was measured." in bench_text(once)
    assert "Intervals" not in bench_text({**once, "cases": cases[:1]})  # the dump beside itself


def test_padding_is_told_as_it_was(dump_document: dict[str, Any]) -> None:
    setting = dump_document["setting"]
    padded, real = setting["padded_tokens"], round(setting["tokens"] * setting["rows"])
    assert (
        real
        <= padded[DUMP]
        == padded[BARE]
        <= padded[FILE_ORDER]
        == padded[PIPELINE]
        <= padded[MAXIMUM]
        == 60 * 24
    )
    flops = dump_document["peak"]["flops"]
    assert flops[BARE] < flops[FILE_ORDER] < flops[MAXIMUM]


def test_flops_on_paper_are_nearly_those_that_torch_counts(dump_document: dict[str, Any]) -> None:
    first = dump_document["peak"]["first_batch"]
    assert first["analytic"] == pytest.approx(first["counted"], rel=0.1)


def test_larger_budgets_are_tried_until_one_batch_holds_all(dump_document: dict[str, Any]) -> None:
    budgets = [each["batch_tokens"] for each in dump_document["batches"]]
    assert budgets == [512, 1024, 2048]  # 60 rows of at most 22 tokens
    assert all(each["rows_per_second"] > 0 for each in dump_document["batches"])


def test_each_case_puts_the_batches_it_names_to_the_teacher(
    dump_config: DumpBenchConfig,
    shapes: Callable[[Material], list[tuple[int, int]]],
    tmp_path: Path,
) -> None:
    material = load(dump_config, tmp_path, SILENT)
    seen, sizes = shapes(material), material.sizes()
    for name, case in dumping.cases(material, tmp_path / "cache").items():
        seen.clear()
        case()
        expected = list(sizes[name])
        # a dump sees first how the teacher is asked in batches
        assert seen[-len(expected) :] == expected, name
        assert name == DUMP or len(seen) == len(expected)
    assert len({start for start, _ in material.shards}) == 2


def test_a_dump_asks_about_the_rows_that_the_others_ask_about(
    dump_config: DumpBenchConfig,
    shapes: Callable[[Material], list[tuple[int, int]]],
    tmp_path: Path,
) -> None:
    material = load(replace(dump_config, rows=50), tmp_path, SILENT)
    seen = shapes(material)
    dumping.cases(material, tmp_path / "cache")[DUMP]()
    expected = list(material.sizes()[DUMP])
    assert sum(rows for rows, _ in expected) == len(material.rows) == 50
    assert seen[-len(expected) :] == expected  # and then none of dev


def test_pairs_are_measured_too(
    dump_config: DumpBenchConfig, checkpoint: Callable[..., Path], pairs_data: Path
) -> None:
    names = ("contradiction", "entailment", "neutral")
    dump_document = bench(
        replace(dump_config, teacher=str(checkpoint("roberta", names)), data=str(pairs_data)),
        COMMAND,
        SILENT,
    )
    assert [case["error"] for case in dump_document["cases"]] == [None] * len(CASES)


def test_the_parts_of_a_dump_add_up_to_it(dump_config: DumpBenchConfig, tmp_path: Path) -> None:
    material = load(dump_config, tmp_path, SILENT)
    parts, behind = dump_phases.where(
        partial(dumping.whole_dump, material, tmp_path / "cache"), material.fence
    )
    assert list(parts) == [*dump_phases.NAMES, "rest"]
    assert all(
        parts[name] > 0
        for name in ("plan", "tokenise", "pad", "forward", "encode", "write", "report")
    )
    assert behind > 0


def test_a_part_inside_another_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(dump_phases.time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    spent = dump_phases.Spent(fence=lambda: wait(1))

    def write() -> None:
        with spent.phase("write"):
            wait(8)

    with spent.phase("report"):
        wait(4)
        for _ in range(2):
            with spent.phase("forward"):
                wait(2)  # and one of the fence
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert dict(spent.seconds) == {"forward": 6, "report": 4}
    assert spent.behind == 8


@pytest.mark.parametrize("error", [KeyboardInterrupt, slow(SystemExit)])
def test_what_was_measured_before_an_interrupt_is_kept(
    dump_config: DumpBenchConfig, error: type[BaseException]
) -> None:
    def interrupt(message: str) -> None:
        if message == "round 2 of 3":
            raise error

    dump_document = bench(replace(dump_config, rounds=3), COMMAND, Notes(interrupt))
    assert not dump_document["complete"]
    assert [case["ratio_to_dump"]["rounds"] for case in dump_document["cases"]] == [2] * len(CASES)
    assert dump_document["where"] is None
    assert "Interrupted" in bench_text(dump_document)
    json.dumps(dump_document, allow_nan=False)


def test_an_interrupt_before_anything_was_measured(
    dump_config: DumpBenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dumping, "matrix_peak", interrupt)
    dump_document = bench(dump_config, COMMAND, SILENT)
    assert (dump_document["complete"], dump_document["cases"], dump_document["peak"]) == (
        False,
        [],
        None,
    )
    assert "Interrupted" in bench_text(dump_document)


def test_a_case_without_memory_leaves_the_others(
    dump_config: DumpBenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = torch.nn.Module.__call__

    def little(self: Any, *given: Any, **named: Any) -> Any:
        if (
            named.get("input_ids") is not None
            and named["input_ids"].shape[1] == dump_config.max_length
        ):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, *given, **named)

    monkeypatch.setattr(torch.nn.Module, "__call__", little)
    dump_document = bench(dump_config, COMMAND, SILENT)
    assert dump_document["complete"]
    failed = {case["name"]: case["error"] for case in dump_document["cases"] if case["error"]}
    assert list(failed) == [MAXIMUM]
    assert "out of memory on the case 'padded to maximum'" in failed[MAXIMUM]
    assert MAXIMUM not in dump_document["peak"]["share"]
    assert "out of memory" in bench_text(dump_document)


def test_a_checkpoint_without_a_head_gets_a_random_one(
    dump_config: DumpBenchConfig, headless: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    material = load(replace(dump_config, teacher=str(headless)), tmp_path, Notes(said.append))
    assert material.random_head
    assert any("random one" in line for line in said)
    assert not load(dump_config, tmp_path, SILENT).random_head


def test_a_folder_s_configuration_is_a_shape(
    dump_config: DumpBenchConfig, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    material = load(replace(dump_config, shape_only=True, dtype="bfloat16"), tmp_path, SILENT)
    assert material.random_head
    assert material.teacher.model.dtype == torch.bfloat16
    other = load(dump_config, tmp_path, SILENT)
    assert material.shape == other.shape
    assert (material.lengths == other.lengths).all()  # by its own tokenizer
    assert material.teacher.weights_digest() != other.teacher.weights_digest()


def test_made_up_rows_are_all_of_one_length(dump_config: DumpBenchConfig, tmp_path: Path) -> None:
    shape = replace(
        dump_config, teacher="1x32", data="nowhere", tokens=20, rows=50, shape_only=True
    )
    material = load(shape, tmp_path, SILENT)
    assert (material.lengths == 20).all()
    assert material.source.num_labels == CLASSES
    assert np.bincount(material.rows.label).min() > 0
    dump_document = bench(shape, COMMAND, SILENT)
    assert set(dump_document["setting"]["padded_tokens"].values()) == {50 * 20}


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"rows": 0}, "--rows"),
        ({"batch_tokens": 0}, "--batch-tokens"),
        ({"memory_rows": (0,)}, "--memory-rows"),
        ({"tokens": 20}, "--tokens"),
        ({"tokens": 2, "shape_only": True}, "--tokens"),
        ({"tokens": 9999, "rows": 2, "shape_only": True, "teacher": "1x32"}, "--tokens"),
        ({"dtype": "int8"}, "--dtype"),
        ({"teacher": "no-such-folder", "shape_only": True}, "no-such-folder"),
    ],
)
def test_what_cannot_be_measured_is_refused_on_one_line(
    dump_config: DumpBenchConfig, change: dict[str, Any], flag: str
) -> None:
    with pytest.raises(SpecError) as caught:
        bench(replace(dump_config, **change), COMMAND, SILENT)
    assert flag in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_of_other_labels_is_refused(
    dump_config: DumpBenchConfig, checkpoint: Callable[..., Path]
) -> None:
    with pytest.raises(FingerprintMismatch):
        bench(
            replace(dump_config, teacher=str(checkpoint("bert", ("one", "two", "three")))),
            COMMAND,
            SILENT,
        )
