"""Head and loss of a vocabulary, forward and backward: KD on 64 words and label smoothing in both
executions, beside PyTorch's cross_entropy(label_smoothing) and linear_cross_entropy.

    python benchmarks/bench_vocabulary_loss.py --out benchmarks/results/vocabulary-loss-cpu.json

Times are medians of rounds in which all are measured in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from logitcache.bench.machine import machine
from logitcache.payloads import Head, Sparse, Tail
from logitcache.student.losses import Weights
from logitcache.student.losses.gradient import Target
from logitcache.student.losses.vocabulary import FUSED, PLAIN, choose, head_loss

V, K = 50_257, 64


def ways(hidden: Tensor, weight: Tensor, device: str) -> dict[str, Callable[[], Tensor]]:
    """Each way to the summed loss."""
    positions = len(hidden)
    labels = torch.randint(0, V, (positions,), device=device)
    prob = torch.rand(positions, K, device=device)
    prob /= prob.sum(1, keepdim=True) * 1.2
    ids = torch.stack([torch.randperm(V, device=device)[:K] for _ in range(positions)])
    rest = 1 - prob.sum(1)
    sparse = Sparse(ids, prob, rest, rest, 1.0, Tail.NONE)
    kd = Target(labels, Weights(0.5, 0.0, 0.5), sparse)
    ls = Target(labels, Weights(0.9, 0.1, 0.0))
    ones = torch.ones(positions, device=device)
    head = Head(weight)
    found: dict[str, Callable[[], Tensor]] = {
        f"{name}-{execution}": lambda target=target, execution=execution: head_loss(
            hidden, head, target, ones, execution
        )
        for name, target in (("kd", kd), ("ls", ls))
        for execution in (PLAIN, FUSED)
    }
    found["cross_entropy"] = lambda: functional.cross_entropy(
        (hidden @ weight.T).float(), labels, reduction="sum", label_smoothing=0.1
    )
    if hasattr(functional, "linear_cross_entropy"):
        found["linear_cross_entropy"] = lambda: functional.linear_cross_entropy(
            hidden, weight, labels, reduction="sum"
        )
    return found


def measured(
    width: int, positions: int, device: str, dtype: torch.dtype, rounds: int
) -> dict[str, Any]:
    """Seconds and peak bytes of each way."""
    torch.manual_seed(0)
    hidden = torch.randn(positions, width, device=device).requires_grad_()
    weight = (torch.randn(V, width, device=device) / width**0.5).requires_grad_()
    seconds: dict[str, list[float]] = {}
    peak: dict[str, int] = {}
    for _ in range(rounds + 1):
        for name, loss in ways(hidden, weight, device).items():
            hidden.grad = weight.grad = None
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            start = time.perf_counter()
            with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
                summed = loss()
            summed.backward()  # type: ignore[no-untyped-call]
            if device == "cuda":
                torch.cuda.synchronize()
                peak[name] = torch.cuda.max_memory_allocated() - before
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    chosen = choose(positions, V, device)
    ratios = {
        "kd_to_ls": median[f"kd-{chosen}"] / median[f"ls-{chosen}"],
        **{
            f"kd_to_{name}": median[f"kd-{chosen}"] / median[name]
            for name in median
            if "cross" in name
        },
    }
    case = {
        "d": width,
        "positions": positions,
        "dtype": str(dtype).removeprefix("torch."),
        "chosen": chosen,
    }
    return {**case, "seconds": median, "peak_bytes": peak, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--positions", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    dtypes = (torch.float32, torch.bfloat16) if asked.device == "cuda" else (torch.float32,)
    cases = []
    for width in (128, 512, 768):
        for positions in asked.positions:
            for dtype in dtypes:
                cases.append(measured(width, positions, asked.device, dtype, asked.rounds))
                print(json.dumps(cases[-1]), flush=True)
    asked.out.write_text(
        json.dumps({"machine": machine(asked.device), "V": V, "k": K, "cases": cases}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()
