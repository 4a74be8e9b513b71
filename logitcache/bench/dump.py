"""What the inference stage costs beside other ways to run a teacher over rows.

The whole dump (tokenising, batching, forward, encoding, checksums, fsynced files, the report) is
measured in turn with bare forward passes, whose batches are tokenised, padded and on the device
already, and with the pipeline of `transformers`.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from logitcache.bench import dump_phases, turns
from logitcache.bench.document import Document, document, until_interrupted
from logitcache.bench.dump_cases import (
    BARE,
    BATCH,
    DUMP,
    FILE_ORDER,
    MAXIMUM,
    PIPELINE,
    Material,
    load,
)
from logitcache.bench.machine import matrix_peak
from logitcache.bench.models import counted_flops, model_figures
from logitcache.bench.turns import Case, Times
from logitcache.config.bench import DumpBenchConfig as DumpBenchConfig
from logitcache.cost.flops import forward_flops
from logitcache.data.collate import pad
from logitcache.errors import SpecError
from logitcache.models.call import on_device
from logitcache.models.quiet import quiet
from logitcache.records import Array, Examples, Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import room_for

CASES = (DUMP, BARE, FILE_ORDER, MAXIMUM, PIPELINE)
SWEEP = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)  # padded tokens of a batch
SWEEP_ROWS = {"cpu": 512, "cuda": 16384}  # by kind of device
SWEEP_ROUNDS = 3


@dataclass
class Measured:
    """What has been measured so far."""

    times: Times = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    peak: float | None = None
    counted: float | None = None  # FLOPs of the first batch, by torch's counter
    phases: dict[str, float] | None = None
    written_behind: float | None = None
    budgets: Times = field(default_factory=dict)  # of batches of other token budgets
    memory: list[dict[str, int]] = field(default_factory=list)


def bench(config: DumpBenchConfig, command: Sequence[str], reporter: Reporter = SILENT) -> Document:
    """Measure, and return the document. After an interrupt it holds what was measured until then.

    Raises SpecError for what cannot be measured, FingerprintMismatch for a teacher of other labels.
    """
    config.check()
    # dumps are written where the workspace's caches lie
    config.workspace.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=config.workspace.folder) as name:
        material = load(config, Path(name), reporter)
        measured = Measured()
        with until_interrupted(reporter) as measuring:
            _measure(material, measured, Path(name), reporter)
        return document(
            "dump",
            command,
            _setting(material),
            _results(material, measured),
            device=str(material.teacher.model.device),
            seed=config.seed,
            complete=measuring.complete,
        )


def _measure(material: Material, measured: Measured, folder: Path, reporter: Reporter) -> None:
    config = material.config
    measured.peak = matrix_peak(str(material.teacher.model.device), config.dtype)
    measured.counted = _counted(material)
    timed = cases(material, folder / "cache")
    _in_turn(timed, config.rounds, material, measured.times, measured.errors, reporter)
    if DUMP not in measured.errors:
        reporter.note("where one dump's time goes")
        dump = partial(whole_dump, material, folder / "cache")
        measured.phases, measured.written_behind = dump_phases.where(dump, material.fence)
    del timed  # and the batches with it
    reporter.note("throughput by batch size")
    _in_turn(
        _budgets(material), min(config.rounds, SWEEP_ROUNDS), material, measured.budgets, {}, SILENT
    )
    for rows in config.memory_rows:
        reporter.note(f"memory of a dump of {rows:,} rows")
        measured.memory.append(
            {"rows": rows, "peak_bytes": dump_phases.peak_memory_of(rows, folder)}
        )


def cases(material: Material, cache: Path) -> dict[str, Case]:
    """What is measured in turn, by name; the dump is written to ``cache``."""
    rows = material.rows
    by_length = [pad(rows, batch) for batch in material.by_length(material.config.batch_tokens)]
    in_order = []
    wide = []
    for batch in material.in_file_order():
        in_order.append(pad(rows, batch))
        wide.append(_padded_to(rows, batch, material.settings.max_length))
    return {
        DUMP: partial(whole_dump, material, cache),
        BARE: _forward(material.teacher, by_length),
        FILE_ORDER: _forward(material.teacher, in_order),
        MAXIMUM: _forward(material.teacher, wide),
        PIPELINE: _pipeline(material),
    }


def whole_dump(material: Material, cache: Path, reporter: Reporter = SILENT) -> None:
    """Dump the rows into ``cache``, in place of what lies there."""
    shutil.rmtree(cache, ignore_errors=True)
    dump_split(
        material.teacher, material.source, "train", cache, material.settings, reporter=reporter
    )


def _forward(teacher: TeacherModel, batches: Sequence[Mapping[str, Array]]) -> Case:
    """Bare forward passes over batches that are on the device before anything is timed."""
    tensors = [on_device(batch, teacher.model) for batch in batches]

    def run() -> None:
        with torch.inference_mode():
            for batch in tensors:
                teacher.model(**batch)

    return run


def _padded_to(rows: Examples, batch: Int64, width: int) -> dict[str, Array]:
    fill = {
        "input_ids": rows.padding.token,
        "attention_mask": 0,
        "token_type_ids": rows.padding.segment,
    }
    padded = {}
    for name, values in pad(rows, batch).items():
        missing = width - values.shape[1]
        padded[name] = np.pad(values, ((0, 0), (0, missing)), constant_values=fill[name])
    return padded


def _pipeline(material: Material) -> Case:
    """`transformers.pipeline` as its guide uses it for many texts: one call with all of them and a
    batch size. Texts are cut as the dump cuts them, and the logits of every class are returned.
    """
    teacher = material.teacher
    texts, pairs = material.source.split("train").texts()
    inputs: list[Any] = texts
    if pairs is not None:
        text_pairs = zip(texts, pairs, strict=True)
        inputs = [{"text": text, "text_pair": pair} for text, pair in text_pairs]
    with quiet():
        classify: Callable[..., Any] = transformers.pipeline(
            "text-classification",
            model=teacher.model,
            tokenizer=teacher.tokenizer,
            device=teacher.model.device,
        )

    def run() -> None:
        with quiet():
            classify(
                inputs,
                batch_size=BATCH,
                truncation=True,
                max_length=material.settings.max_length,
                top_k=None,
                function_to_apply="none",
            )

    return run


def _budgets(material: Material) -> dict[str, Case]:
    """Bare forward passes over the first rows in batches of growing budgets, up to all in one."""
    passes = {}
    for budget in SWEEP:
        batches = material.by_length(budget, _sweep_rows(material))
        passes[str(budget)] = _forward(
            material.teacher, [pad(material.rows, batch) for batch in batches]
        )
        if len(batches) == 1:
            break
    return passes


def _in_turn(
    cases: Mapping[str, Case],
    rounds: int,
    material: Material,
    times: Times,
    errors: dict[str, str],
    reporter: Reporter,
) -> None:
    """As :func:`turns.in_turn`, but an interrupt keeps all blocks, and a case that does not fit in
    memory is left out of later rounds.
    """
    for name, case in cases.items():
        _once(name, case, material, [], errors)
    for turn, order in enumerate(turns.rotated(list(cases), rounds), 1):
        for name in order:
            if name not in errors:
                _once(name, cases[name], material, times.setdefault(name, []), errors)
        reporter.note(f"round {turn} of {rounds}")


def _once(
    name: str, case: Case, material: Material, blocks: list[list[float]], errors: dict[str, str]
) -> None:
    try:
        with room_for(f"the case {name!r}", material.teacher):
            blocks.append([turns.timed(case, material.fence)])
            return
    except (SpecError, MemoryError) as error:
        errors[name] = str(error) or "out of memory"
    gc.collect()
    if material.teacher.model.device.type == "cuda":
        torch.cuda.empty_cache()


def _counted(material: Material) -> float:
    """FLOPs of the first batch by torch's counter."""
    inputs = pad(material.rows, material.by_length(material.config.batch_tokens)[0])
    tensors = on_device(inputs, material.teacher.model)
    with torch.no_grad():
        return counted_flops(lambda: material.teacher.model(**tensors))


def _setting(material: Material) -> dict[str, Any]:
    config = material.config
    first_shard = material.shards[0]
    padded = {}
    for name, sizes in material.sizes().items():
        padded[name] = sum(rows * width for rows, width in sizes)
    return {
        "teacher": model_figures(material.teacher.name, material.teacher.model),
        "head": "random" if material.random_head else "trained",
        "data": material.source.name,
        "rows": len(material.rows),
        "classes": material.source.num_labels,
        "max_length": material.settings.max_length,
        "batch_tokens": config.batch_tokens,
        "shard_rows": first_shard[1] - first_shard[0],
        "tokens": float(material.lengths.mean()),
        "padded_tokens": padded,
        "precision": config.dtype,
        "rounds": config.rounds,
        "shape_only": config.shape_only,
    }


def _results(material: Material, measured: Measured) -> dict[str, Any]:
    dump = measured.times.get(DUMP)
    bare = measured.times.get(BARE)
    names = [name for name in CASES if measured.times.get(name) or name in measured.errors]
    batches = []
    for budget, blocks in measured.budgets.items():
        if blocks:
            seconds = turns.spread(blocks)["median"]
            rate = _sweep_rows(material) / seconds
            batches.append(
                {"batch_tokens": int(budget), "seconds": seconds, "rows_per_second": rate}
            )
    over_bare = None
    if dump and bare:
        over_bare = turns.ratio(dump, bare).to_dict()
    return {
        "cases": [_case(name, material, measured) for name in names],
        "dump_to_bare_forward": over_bare,
        "peak": _peak(material, measured),
        "where": measured.phases,
        "written_behind": measured.written_behind,
        "batches": batches,
        "memory": measured.memory,
    }


def _case(name: str, material: Material, measured: Measured) -> dict[str, Any]:
    case: dict[str, Any] = dict.fromkeys(
        ("name", "seconds", "rows_per_second", "tokens_per_second", "ratio_to_dump")
    )
    case |= {"name": name, "error": measured.errors.get(name)}
    blocks = measured.times.get(name)
    dump = measured.times.get(DUMP)
    if blocks and case["error"] is None:
        case["seconds"] = turns.spread(blocks)
        median = case["seconds"]["median"]
        case["rows_per_second"] = len(material.rows) / median
        case["tokens_per_second"] = float(material.lengths.sum()) / median
        case["ratio_to_dump"] = turns.ratio(blocks, dump).to_dict() if dump else None
    return case


def _peak(material: Material, measured: Measured) -> dict[str, Any] | None:
    """What share of the machine's matrix products each case reaches, padding counted as work."""
    if measured.peak is None:
        return None
    sizes = material.sizes()
    flops = {}
    for name in CASES:
        flops[name] = sum(forward_flops(material.shape, *size) for size in sizes[name])
    shares = {}
    for name, blocks in measured.times.items():
        if blocks and name not in measured.errors:
            shares[name] = flops[name] / turns.spread(blocks)["median"] / measured.peak
    return {
        "flops_per_second": measured.peak,
        "dtype": material.config.dtype,
        "share": shares,
        "flops": flops,
        "first_batch": {
            "counted": measured.counted,
            "analytic": forward_flops(material.shape, *sizes[BARE][0]),
        },
    }


def _sweep_rows(material: Material) -> int:
    return min(len(material.rows), SWEEP_ROWS[material.teacher.model.device.type])
