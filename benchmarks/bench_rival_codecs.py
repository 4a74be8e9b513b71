"""The published formats of DistillKit and Megatron-LM beside the codecs, on SmolLM2-135M: bytes a
position, divergence, and the errors of the gradient.

    python benchmarks/bench_rival_codecs.py --model FILE.gguf --text FOLDER

Model, text and positions are those of ``bench_codecs.py``. What is measured is the arithmetic that
the formats' descriptions give, written anew:

- DistillKit (README and compression/config.py of a61c2e7): the K most probable words in falling
  order; the first of them as log-probabilities in bfloat16, the others as the least-squares fit of a
  few terms of their rank (powers, a square root), coefficients in single precision; numbers of words
  in ceil(log2 V) bits. Words that are not listed have no probability, and the rest is scaled to 1.
- Megatron-LM: the K log-probabilities in half precision, numbers of words in 17 bits. What is left
  is one outcome more, as the bucket of ``topk`` is.

Cases that results/rival-codecs.json has already are kept.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_codecs import sampled
from common import RESULTS, write
from torch import Tensor

from logitcache.bench.codecs import figures
from logitcache.payloads import Sparse, Tail
from logitcache.records import Array
from logitcache.targets.draws import Draw
from logitcache.targets.table import named, parse

OURS = (
    *("topk:k=50", "topk:k=128", "topk:k=50,tail=drop", "topk:k=128,tail=drop"),
    *("sampled:n=114", "varopt:mean=26", "varopt:mean=48", "varopt:mean=135"),
)
LEFT_OUT = ("entropy_error", "by_entropy", "seconds", "step_seconds", "step_ratio", "announced")
NAME = "rival-codecs"


@dataclass(frozen=True)
class Published:
    """A format of top-k log-probabilities, as far as the measurement needs a codec."""

    name: str
    width: int
    k: int
    exact: int  # words whose log-probability is stored itself
    powers: tuple[float, ...]  # of the rank, fitted to the log-probabilities of the others
    dtype: torch.dtype  # of exact log-probabilities
    id_bits: float
    tail: Tail
    is_scaled: bool = False  # the listed probabilities to a sum of 1

    temperatures = (1.0,)

    def calibrated(self, vectors: Iterable[Tensor]) -> Published:
        return self

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "dense", "dtype": self.name}  # what ``named`` prints

    def bytes_per_position(self) -> float:
        ids = self.k * self.id_bits / 8
        if self.id_bits == int(self.id_bits):
            ids = math.ceil(ids)
        return ids + 2 * self.exact + 4 * len(self.powers)

    def reduce(self, vectors: Tensor, draw: Draw) -> Mapping[str, Tensor]:
        found = vectors.log_softmax(1).topk(self.k, dim=1)
        exact = found.values[:, : self.exact].to(self.dtype).float()
        fitted = self._fitted(found.values[:, self.exact :])
        return {"ids": found.indices, "log_p": torch.cat([exact, fitted], 1)}

    def _fitted(self, values: Tensor) -> Tensor:
        """The polynomial of each position at its ranks, with coefficients in single precision."""
        if not self.powers:
            return values
        rank = torch.arange(values.shape[1], dtype=torch.float64)[:, None]
        terms = rank ** torch.tensor(self.powers, dtype=torch.float64)
        coefficients = torch.linalg.lstsq(terms, values.double().T).solution
        return (terms @ coefficients.float().double()).T.float()

    def pack(self, kept: Mapping[str, Tensor]) -> dict[str, Array]:
        """The columns, and as many bytes as the format takes for them."""
        size = round(len(kept["ids"]) * self.bytes_per_position())
        return {"bytes": _Counted(size, kept)}  # type: ignore[dict-item]

    def unpack(self, columns: Mapping[str, Any], assets: Mapping[str, Array]) -> Sparse[Array]:
        kept = columns["bytes"].kept
        prob = kept["log_p"].exp()
        if self.is_scaled:
            prob = prob / prob.sum(1, keepdim=True)
        rest = (1 - prob.sum(1)).clamp(min=0)
        entropy = np.zeros(len(prob), np.float32)
        return Sparse(kept["ids"].numpy(), prob.numpy(), rest.numpy(), entropy, 1.0, self.tail)


@dataclass(frozen=True)
class _Counted:
    nbytes: int
    kept: Mapping[str, Tensor]


def published(width: int) -> list[Published]:
    """The formats in the sizes that their documents name."""
    bits = math.ceil(math.log2(width))
    half = torch.bfloat16
    formats = [
        Published(
            "DistillKit, budget", width, 50, 1, (0, 1, 0.5), half, bits, Tail.NONE, is_scaled=True
        ),
        Published(
            "DistillKit, recommended", width, 128, 16, (0, 1, 2, 3, 4, 0.5), half, bits, Tail.NONE, is_scaled=True
        ),
    ]  # fmt: skip
    for k in (16, 50, 128):
        megatron = Published(f"Megatron, K = {k}", width, k, k, (), torch.float16, 17, Tail.BUCKET)
        formats.append(megatron)
    return formats


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--length", type=int, default=257)
    chosen = parser.parse_args()
    sample = sampled(chosen.model, chosen.text, chosen.positions, chosen.length)
    width = sample.logits.shape[1]
    path = RESULTS / f"{NAME}.json"
    cases = json.loads(path.read_text())["cases"] if path.is_file() else []
    codecs: list[Any] = [*published(width), *(parse(text).codec(width) for text in OURS)]
    for codec in codecs:
        if any(case["name"] == named(codec.to_dict()) for case in cases):
            continue
        case = asdict(figures(codec, sample))
        cases.append({name: case[name] for name in case if name not in LEFT_OUT})
        document = {"model": chosen.model.name, "positions": len(sample.logits), "width": width}
        write(NAME, {**document, "cases": cases})


if __name__ == "__main__":
    main()
