"""What the inference stage costs, against the ways people put rows to a teacher without it.

Measured in turn is the whole dump (tokenising, batching, forward, encoding, checksums, fsynced files, the report read
back) beside bare forward passes, which get batches that are tokenised, padded and on the device already, and the
pipeline of `transformers`.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from logitcache.bench import dump_phases, turns
from logitcache.bench.document import INTERRUPTED, Document, document
from logitcache.bench.dump_cases import BARE, BATCH, DUMP, FILE_ORDER, MAXIMUM, PIPELINE, Material, load
from logitcache.bench.machine import matrix_peak
from logitcache.bench.turns import Blocks, Case
from logitcache.config.bench import DumpBenchConfig as DumpBenchConfig
from logitcache.cost.flops import forward_flops
from logitcache.data.collate import pad
from logitcache.errors import SpecError
from logitcache.models.load import quiet
from logitcache.records import Array, Examples, Int64
from logitcache.reporter import SILENT, Reporter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.panel import room_for

CASES = (DUMP, BARE, FILE_ORDER, MAXIMUM, PIPELINE)
SWEEP = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)  # padded tokens of a batch
SWEEP_ROWS = {"cpu": 512, "cuda": 16384}
SWEEP_ROUNDS = 3

Times: TypeAlias = dict[str, list[list[float]]]


@dataclass
class Taken:
    """What has been measured so far."""

    times: Times = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    peak: float | None = None
    counted: float | None = None  # FLOPs of the first batch, by torch's counter
    where: dict[str, float] | None = None
    behind: float | None = None
    sweep: Times = field(default_factory=dict)
    memory: list[dict[str, int]] = field(default_factory=list)


def bench(asked: DumpBenchConfig, command: Sequence[str], reporter: Reporter = SILENT) -> Document:
    """Measure, and tell it as a document. What was measured before an interrupt is kept, with ``complete`` false.

    Raises SpecError for what cannot be measured or loaded, FingerprintMismatch for a teacher of other labels.
    """
    asked.check()
    asked.workspace.folder.mkdir(parents=True, exist_ok=True)  # a dump writes, and so does this: where its caches lie
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.workspace.folder) as name:
        material, taken, complete = load(asked, Path(name), reporter), Taken(), True
        try:
            _measure(material, taken, Path(name), reporter)
        except INTERRUPTED:  # the command line is ended by the latter
            reporter.note("interrupted: what was measured until now is kept")
            complete = False
        setting, results = _setting(material), _results(material, taken)
        device = str(material.teacher.model.device)
        return document("dump", command, setting, results, device=device, seed=asked.seed, complete=complete)


def _measure(material: Material, taken: Taken, folder: Path, reporter: Reporter) -> None:
    asked, device = material.asked, str(material.teacher.model.device)
    taken.peak, taken.counted = matrix_peak(device, asked.dtype), _counted(material)
    timed = cases(material, folder / "cache")
    _in_turn(timed, asked.rounds, material, taken.times, taken.errors, reporter)
    if DUMP not in taken.errors:
        reporter.note("where one dump's time goes")
        taken.where, taken.behind = dump_phases.where(partial(whole_dump, material, folder / "cache"), material.fence)
    del timed  # and the batches with it
    reporter.note("throughput by batch size")
    _in_turn(_sweep(material), min(asked.rounds, SWEEP_ROUNDS), material, taken.sweep, {}, SILENT)
    for rows in asked.memory_rows:
        reporter.note(f"memory of a dump of {rows:,} rows")
        taken.memory.append({"rows": rows, "peak_bytes": dump_phases.peak_memory_of(rows, folder)})


def cases(material: Material, cache: Path) -> dict[str, Case]:
    """What is measured in turn, by name; the dump is written to ``cache``."""
    rows, batches = material.rows, material.in_file_order()
    by_length = material.by_length(material.asked.batch_tokens)
    wide = partial(_padded_to, rows, width=material.settings.max_length)
    return {
        DUMP: partial(whole_dump, material, cache),
        BARE: _forward(material.teacher, [pad(rows, places) for places in by_length]),
        FILE_ORDER: _forward(material.teacher, [pad(rows, places) for places in batches]),
        MAXIMUM: _forward(material.teacher, [wide(places) for places in batches]),
        PIPELINE: _pipeline(material),
    }


def whole_dump(material: Material, cache: Path, reporter: Reporter = SILENT) -> None:
    """Dump the rows into ``cache``, in place of what lies there."""
    shutil.rmtree(cache, ignore_errors=True)
    dump_split(material.teacher, material.source, "train", cache, material.settings, reporter=reporter)


def _forward(teacher: TeacherModel, inputs: Sequence[Mapping[str, Array]]) -> Case:
    """The bare forward pass. The batches are on the device before anything is timed: no loop of anybody's gets them
    cheaper.
    """
    device = teacher.model.device
    ready = [{name: torch.from_numpy(value).to(device) for name, value in each.items()} for each in inputs]

    def run() -> None:
        with torch.inference_mode():
            for each in ready:
                teacher.model(**each)

    return run


def _padded_to(rows: Examples, places: Int64, width: int) -> dict[str, Array]:
    fill = {"input_ids": rows.padding.token, "attention_mask": 0, "token_type_ids": rows.padding.segment}
    return {
        name: np.pad(value, ((0, 0), (0, width - value.shape[1])), constant_values=fill[name])
        for name, value in pad(rows, places).items()
    }


def _pipeline(material: Material) -> Case:
    """`transformers.pipeline` as its guide has it for many texts: one call with all of them and a batch size, texts cut
    as the dump cuts them, every class's logit told.
    """
    teacher, (texts, pairs) = material.teacher, material.source.split("train").texts()
    told: list[Any] = texts
    if pairs is not None:
        told = [{"text": text, "text_pair": pair} for text, pair in zip(texts, pairs, strict=True)]
    how = {"truncation": True, "max_length": material.settings.max_length, "top_k": None, "function_to_apply": "none"}
    with quiet():
        ask: Callable[..., Any] = transformers.pipeline(
            "text-classification", model=teacher.model, tokenizer=teacher.tokenizer, device=teacher.model.device
        )

    def run() -> None:
        with quiet():
            ask(told, batch_size=BATCH, **how)

    return run


def _sweep(material: Material) -> dict[str, Case]:
    """Bare forward passes over the first rows, in batches of other token budgets: up to what makes one batch."""
    rows = _swept(material)
    cut = {budget: material.by_length(budget, rows) for budget in SWEEP}
    few = [budget for budget, batches in cut.items() if len(batches) == 1][1:]  # one such is enough
    padded = {budget: [pad(material.rows, places) for places in cut[budget]] for budget in SWEEP if budget not in few}
    return {str(budget): _forward(material.teacher, inputs) for budget, inputs in padded.items()}


def _in_turn(
    cases: Mapping[str, Case], rounds: int, material: Material, times: Times, errors: dict[str, str], reporter: Reporter
) -> None:
    """As :func:`turns.in_turn`, but what was measured stays where it breaks off, and where memory does not suffice for
    one case the others go on.
    """
    for name, case in cases.items():
        _once(name, case, material, [], errors)
    for turn, order in enumerate(turns.rotated(list(cases), rounds)):
        for name in order:
            if name not in errors:
                _once(name, cases[name], material, times.setdefault(name, []), errors)
        reporter.note(f"round {turn + 1} of {rounds}")


def _once(name: str, case: Case, material: Material, blocks: list[list[float]], errors: dict[str, str]) -> None:
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
    inputs = pad(material.rows, material.by_length(material.asked.batch_tokens)[0])
    device = material.teacher.model.device
    # the counter sees neither what inference mode does nor every fused attention
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        material.teacher.model(**{name: torch.from_numpy(value).to(device) for name, value in inputs.items()})
    return float(counter.get_total_flops())


def _setting(material: Material) -> dict[str, Any]:
    asked, shape = material.asked, material.shape
    padded = {name: sum(rows * width for rows, width in sizes) for name, sizes in material.sizes().items()}
    return {
        "teacher": {
            "name": material.teacher.name,
            "parameters": shape.parameters,
            "embedding_parameters": shape.embeddings,
        },
        "head": "random" if material.random_head else "trained",
        "data": material.source.name,
        "rows": len(material.rows),
        "classes": material.source.num_labels,
        "max_length": material.settings.max_length,
        "batch_tokens": asked.batch_tokens,
        "shard_rows": material.shards[0][1] - material.shards[0][0],
        "tokens": float(material.lengths.mean()),
        "padded_tokens": padded,
        "precision": asked.dtype,
        "rounds": asked.rounds,
        "shape_only": asked.shape_only,
    }


def _results(material: Material, taken: Taken) -> dict[str, Any]:
    dump, bare = taken.times.get(DUMP), taken.times.get(BARE)
    cases = [_case(name, material, taken) for name in CASES if taken.times.get(name) or name in taken.errors]
    return {
        "cases": cases,
        "dump_to_bare_forward": turns.ratio(dump, bare).to_dict() if dump and bare else None,
        "peak": _peak(material, taken),
        "where": taken.where,
        "written_behind": taken.behind,
        "batches": [_budget(material, int(budget), blocks) for budget, blocks in taken.sweep.items() if blocks],
        "memory": taken.memory,
    }


def _case(name: str, material: Material, taken: Taken) -> dict[str, Any]:
    blocks, dump, error = taken.times.get(name), taken.times.get(DUMP), taken.errors.get(name)
    told: dict[str, Any] = dict.fromkeys(("seconds", "rows_per_second", "tokens_per_second", "ratio_to_dump"))
    if blocks and error is None:
        seconds = turns.spread(blocks)
        told |= {"seconds": seconds, "rows_per_second": len(material.rows) / seconds["median"]}
        told["tokens_per_second"] = float(material.lengths.sum()) / seconds["median"]
        told["ratio_to_dump"] = turns.ratio(blocks, dump).to_dict() if dump else None
    return {"name": name, **told, "error": error}


def _peak(material: Material, taken: Taken) -> dict[str, Any] | None:
    """What share of the machine's matrix products each case reaches, padding counted as work."""
    if taken.peak is None:
        return None
    sizes, peak = material.sizes(), taken.peak
    flops = {name: sum(forward_flops(material.shape, *size) for size in sizes[name]) for name in CASES}
    medians = {name: _median(blocks) for name, blocks in taken.times.items() if blocks and name not in taken.errors}
    first = {"counted": taken.counted, "analytic": forward_flops(material.shape, *sizes[BARE][0])}
    return {
        "flops_per_second": peak,
        "dtype": material.asked.dtype,
        "share": {name: flops[name] / seconds / peak for name, seconds in medians.items()},
        "flops": flops,
        "first_batch": first,
    }


def _budget(material: Material, budget: int, blocks: Blocks) -> dict[str, Any]:
    seconds = _median(blocks)
    return {"batch_tokens": budget, "seconds": seconds, "rows_per_second": _swept(material) / seconds}


def _swept(material: Material) -> int:
    return min(len(material.rows), SWEEP_ROWS["cuda" if material.teacher.model.device.type == "cuda" else "cpu"])


def _median(blocks: Blocks) -> float:
    return turns.spread(blocks)["median"]
