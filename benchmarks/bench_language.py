"""Language models on a vocabulary of 50,257 words: a whole training step of KD beside the stock
Trainer, and a dump beside the teacher's bare forward pass with its head.

    python benchmarks/bench_language.py [--part step dump memory] [--task causal-lm masked-lm]
        [--rounds 7] [--rows 48] [--device cpu]

Models have random weights and texts random words: neither decides a time. The student is 4 layers
of 256, the teacher 6 of 384. The stock Trainer has label smoothing for causal models, and for
masked ones its own loss with the head on all positions. Results lie in
results/language-PART-DEVICE.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from common import RESULTS, write
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from logitcache.api import dump
from logitcache.bench import turns
from logitcache.bench.machine import machine, peak_memory
from logitcache.bench.steps import FOREVER, SMOOTHING, BlockClock, Case
from logitcache.cache.cache import Cache
from logitcache.cache.rows import stored_source
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.table import TASKS
from logitcache.student.methods import objective
from logitcache.student.trainer import DistillTrainer

V = int(os.environ.get("LOGITCACHE_BENCH_WORDS", "50257"))
TOKENS, BATCH = 128, 8
FAMILY = {"causal-lm": "gpt2", "masked-lm": "bert"}
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
PARTS = ("step", "dump", "memory")
CODECS = ("varopt:mean=16", "sampled:n=50", "topk:k=16", "replay")


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [*SPECIAL.values(), *(f"w{number}" for number in range(V - len(SPECIAL)))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {f"{name}_token": token for name, token in SPECIAL.items()}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **names,
        bos_token=SPECIAL["cls"],
        eos_token=SPECIAL["sep"],
        model_max_length=TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_model(family: str, layers: int, width: int, tokenizer: Any, folder: Path) -> Path:
    """A folder with random weights."""
    heads = width // 64
    if family == "gpt2":
        shape = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": TOKENS}
    else:
        shape = {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
            "max_position_embeddings": TOKENS,
        }
    named = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    config = transformers.AutoConfig.for_model(family, **shape, **named, vocab_size=V)
    torch.manual_seed(0)
    auto = (
        transformers.AutoModelForMaskedLM if family == "bert" else transformers.AutoModelForCausalLM
    )
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_texts(rows: int, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    lines = []
    for _ in range(rows):
        words = (f"w{draw.randrange(V - len(SPECIAL))}" for _ in range(TOKENS - 2))
        lines.append(json.dumps({"text": " ".join(words)}))
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    return folder


class World:
    """Teacher, student, texts, and caches of them in a folder."""

    def __init__(self, task: str, rows: int, device: str, folder: Path) -> None:
        self.task, self.device, self.folder = task, device, folder
        tokenizer = make_tokenizer()
        family = FAMILY[task]
        self.teacher = make_model(family, 6, 384, tokenizer, folder / "teacher")
        self.student = make_model(family, 4, 256, tokenizer, folder / "student")
        self.texts = make_texts(rows, folder / "texts")
        self.dtype = "bfloat16" if device == "cuda" else "float32"

    def dumped(self, codec: str, **settings: Any) -> Any:
        """The report of a whole dump, made anew."""
        workspace = self.folder / "workspace"
        shutil.rmtree(workspace, ignore_errors=True)
        return dump(
            str(self.teacher),
            str(self.texts),
            task=self.task,
            codec=codec,
            seq_len=TOKENS,
            device=self.device,
            dtype=self.dtype,
            workspace=workspace,
            notify=lambda note: None,
            **settings,
        )

    def auto(self) -> Any:
        masked = self.task == "masked-lm"
        return transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM

    def arguments(self, **overrides: Any) -> TrainingArguments:
        return TrainingArguments(
            output_dir=str(self.folder / "trainer"),
            max_steps=FOREVER,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            use_cpu=self.device == "cpu",
            bf16=self.device == "cuda",
            eval_strategy="no",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            **overrides,
        )


def stepped(world: World, rounds: int, steps: int) -> dict[str, Any]:
    """Whole training steps of KD, label smoothing and gold labels, beside the stock Trainer's."""
    cache = Cache.open(world.dumped("varopt:mean=16").cache)
    source = stored_source({"train": cache})
    task = TASKS[source.task](source.num_labels, None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(world.teacher)
    rows = prepare(tokenizer, source.split("train"), TOKENS)
    student = world.auto().from_pretrained(world.student)
    cases = {}
    for method in ("kd", "ls", "base"):
        clock = BlockClock(turns.settled(world.device), singly=world.device == "cpu")
        teachers = {"cache": cache} if method == "kd" else {}
        trainer: Any = DistillTrainer(
            student,
            objective(method),
            Collator(rows, task, teachers),
            args=world.arguments(),
            callbacks=[clock],
        )
        cases[method] = Case(method, trainer, clock)
    clock = BlockClock(turns.settled(world.device), singly=world.device == "cpu")
    smoothing = {"label_smoothing_factor": SMOOTHING} if world.task == "causal-lm" else {}
    stock = Trainer(
        model=student,
        args=world.arguments(**smoothing),
        train_dataset=dicts(rows, causal=world.task == "causal-lm"),
        data_collator=transformers.DataCollatorForTokenClassification(tokenizer),
        callbacks=[clock],
    )
    cases["stock"] = Case("stock", stock, clock)
    for case in cases.values():
        case.trainer.remove_callback(PrinterCallback)
    times: turns.Times = {name: [] for name in cases}
    for order in turns.rotated(list(cases), rounds):
        for name in order:
            times[name].append(cases[name].block(1, steps))
    return {
        "positions_per_step": len(Collator(rows, task)(np.arange(BATCH)).label),
        "executions": sorted(cases["kd"].trainer.model.executions),
        "kd_to_stock": turns.ratio(times["kd"], times["stock"]).to_dict(),
        "kd_to_ls": turns.ratio(times["kd"], times["ls"]).to_dict(),
        "seconds": {name: turns.spread(blocks) for name, blocks in times.items()},
    }


def dicts(rows: Any, *, causal: bool) -> list[dict[str, Any]]:
    """The rows as the stock Trainer's collator takes them: a causal model shifts its labels itself,
    so they are its inputs; those of a masked one are -100 where no word is hidden.
    """
    examples = []
    inputs, kept = rows.inputs["input_ids"], rows.units["labels"]
    for row in range(len(rows)):
        part = slice(inputs.indptr[row], inputs.indptr[row + 1])
        ids = inputs.values[part].astype(np.int64)
        labels = kept.values[part].astype(np.int64)
        if causal:
            labels = ids
        examples.append(
            {
                "input_ids": ids.tolist(),
                "attention_mask": [1] * len(ids),
                "labels": np.where(labels < 0, -100, labels).tolist(),
            }
        )
    return examples


def bare(world: World, rows: int) -> turns.Case:
    """The teacher's forward pass with its head over as many rows, in batches of the dump's size."""
    dtype = getattr(torch, world.dtype)
    teacher = world.auto().from_pretrained(world.teacher, dtype=dtype).eval().to(world.device)
    together = 4096 // TOKENS
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(SPECIAL), V, (rows, TOKENS), generator=generator).to(world.device)

    def run() -> None:
        with torch.inference_mode():
            for part in ids.split(together):
                teacher(input_ids=part, attention_mask=torch.ones_like(part))

    return run


def dumps(world: World, rounds: int, rows: int, codecs: Sequence[str]) -> dict[str, Any]:
    """Whole dumps by codec, each after a bare forward pass, and what they hold on disk.

    A dump learns once of its teacher how it is padded, its weights' digest and the codec's number,
    on some thousand positions. What it takes for rows is told apart from that: seconds from the
    first row asked to the cache sealed, by the dump's own clock, over all splits.
    """
    bytes_of = {}
    answering: turns.Times = {codec: [] for codec in codecs}

    def whole(codec: str) -> None:
        report = world.dumped(codec)
        parts = (report, *report.held_out)
        answering[codec].append([sum(part.seconds for part in parts)])
        announced = Cache.open(report.cache).codec.bytes_per_position()
        bytes_of[codec] = {
            "announced": announced,
            "on_disk": report.codec_bytes / report.positions,
        }

    forward = bare(world, rows)
    fence = turns.settled(world.device)
    turns.timed(forward, fence)
    times: turns.Times = {codec: [] for codec in codecs}
    beside: turns.Times = {codec: [] for codec in codecs}  # the bare pass before each dump
    for order in turns.rotated(list(codecs), rounds):  # a dump is long, and needs no warming up
        for codec in order:
            beside[codec].append([turns.timed(forward, fence)])
            times[codec].append([turns.timed(partial(whole, codec), fence)])
            print(codec, beside[codec][-1], answering[codec][-1], times[codec][-1], flush=True)
    every_bare = [block for blocks in beside.values() for block in blocks]
    bare_seconds = turns.spread(every_bare)["median"]
    return {
        "rows": dict.fromkeys(codecs, rows),
        "tokens_per_second": rows * TOKENS / bare_seconds,
        "dump_to_bare_forward": {
            codec: turns.ratio(answering[codec], beside[codec]).to_dict() for codec in codecs
        },
        "seconds_once": {
            codec: float(np.median(np.subtract(times[codec], answering[codec]))) for codec in codecs
        },
        "seconds": {codec: turns.spread(blocks) for codec, blocks in times.items()},
        "bare_seconds": {codec: turns.spread(blocks) for codec, blocks in beside.items()},
        "bytes_per_position": bytes_of,
    }


def memory(world: World, shard_rows: tuple[int, ...]) -> dict[str, int]:
    """The largest resident set of a dump, by the rows of a shard, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for size in shard_rows:
        with context.Pool(1) as pool:
            peaks[str(size)] = pool.apply(dump_peak, (world.task, world.device, world.folder, size))
    return peaks


def dump_peak(task: str, device: str, folder: Path, shard_rows: int) -> int:
    world = World.__new__(World)
    world.task, world.device, world.folder = task, device, folder
    world.teacher, world.texts = folder / "teacher", folder / "texts"
    world.dtype = "float32"
    world.dumped(CODECS[0], shard_rows=shard_rows)
    return peak_memory()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--task", nargs="+", choices=tuple(FAMILY), default=list(FAMILY))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    options = parser.parse_args()
    for part in options.part:
        measure(part, options)


def measure(part: str, options: argparse.Namespace) -> None:
    name = f"language-{part}-{options.device}"
    path = RESULTS / f"{name}.json"
    tasks = json.loads(path.read_text())["tasks"] if path.is_file() else {}
    command = f"python benchmarks/bench_language.py --part {part} --rows {options.rows} --rounds {options.rounds}"
    if options.task != list(FAMILY):
        command += f" --task {' '.join(options.task)}"
    if options.codec != list(CODECS):  # the others keep the figures of an earlier call
        command += f" --codec {' '.join(options.codec)}"
    for task in options.task:
        with tempfile.TemporaryDirectory(prefix="logitcache-bench-") as folder:
            world = World(task, options.rows, options.device, Path(folder))
            if part == "step":
                tasks[task] = stepped(world, options.rounds, options.steps)
            elif part == "dump":
                own = dumps(world, options.rounds, options.rows, options.codec)
                tasks[task] = together(tasks.get(task, {}), own)
            else:
                tasks[task] = memory(world, (8, options.rows))
        write(
            name, {"command": command, "machine": machine(options.device), "V": V, "tasks": tasks}
        )


def together(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Figures of some codecs beside those of the others, which were measured in another call."""
    joined = {}
    for name, value in now.items():
        is_by_codec = isinstance(value, dict)
        joined[name] = {**before.get(name, {}), **value} if is_by_codec else value
    return joined


if __name__ == "__main__":
    main()
