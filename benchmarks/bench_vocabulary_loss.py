"""Head and loss of a vocabulary, forward and backward: KD on 64 words, label smoothing and gold
labels in our executions, beside PyTorch's cross_entropy(label_smoothing=) and linear_cross_entropy.

    python benchmarks/bench_vocabulary_loss.py [--d 128 ...] [--positions 512 ...]
        [--dtype float32 ...] [--device cpu] [--rounds 7] [--sweep]

Times are measured in turn; a ratio is the median of the rounds' ratios, with its interval. Memory
is the peak of the resident set (on a GPU of what is allocated) above what is there before, without
the gradients. ``--sweep`` measures sizes of a chunk instead. What is measured replaces the same
cases in results/vocabulary-loss-DEVICE.json (chunks in vocabulary-loss-chunks-DEVICE.json), so a
part of it can be made again.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, write
from torch import Tensor
from torch.nn import functional

from logitcache.bench import turns
from logitcache.bench.machine import machine, process_status
from logitcache.payloads import Head, Sparse, Tail
from logitcache.student.losses import Weights, vocabulary
from logitcache.student.losses.gradient import Target
from logitcache.student.losses.vocabulary import FUSED, PLAIN, choose, head_loss

V, K = 50_257, 64
CHUNK_ROWS = (32, 64, 128, 256, 512, 1024, 2048)


class Setting:
    """A head's input and weight, with targets for each position."""

    def __init__(self, d: int, positions: int, device: str, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.device, self.dtype = device, dtype
        self.hidden = torch.randn(positions, d, device=device, requires_grad=True)
        weight = torch.randn(V, d, device=device) / d**0.5
        self.weight = weight.requires_grad_()
        self.labels = torch.randint(0, V, (positions,), device=device)
        prob = torch.rand(positions, K, device=device)
        prob /= prob.sum(1, keepdim=True)
        ids = torch.randint(0, V, (positions, K), device=device)
        nothing = torch.zeros(positions, device=device)
        teacher = Sparse(ids, prob, nothing, nothing, 1.0, Tail.NONE)
        self.targets = {
            "kd": Target(self.labels, Weights(0.5, 0.0, 0.5), teacher),
            "ls": Target(self.labels, Weights(0.9, 0.1, 0.0)),
            "base": Target(self.labels, Weights(1.0, 0.0, 0.0)),
        }
        self.ones = torch.ones(positions, device=device)

    def ours(self, name: str, execution: str) -> Tensor:
        target, head = self.targets[name], Head(self.weight)
        return head_loss(self.hidden, head, target, self.ones, execution)

    def cross_entropy(self) -> Tensor:
        logits = functional.linear(self.hidden, self.weight).float()
        return functional.cross_entropy(logits, self.labels, reduction="sum", label_smoothing=0.1)

    def linear_cross_entropy(self) -> Tensor:
        hidden, weight = self.hidden, self.weight
        if self.dtype != torch.float32:  # autocast does not know this function
            hidden, weight = hidden.to(self.dtype), weight.to(self.dtype)
        options = torch.nn.LinearCrossEntropyOptions()
        return functional.linear_cross_entropy(
            hidden, weight, self.labels, reduction="sum", options=options
        )

    def step(self, loss: Callable[[], Tensor]) -> None:
        """Forward and backward pass of a loss."""
        self.hidden.grad = self.weight.grad = None
        is_half = self.dtype != torch.float32
        with torch.autocast(self.device, dtype=self.dtype, enabled=is_half):
            summed = loss()
        summed.backward()  # type: ignore[no-untyped-call]

    def cases(self, executions: tuple[str, ...]) -> dict[str, turns.Case]:
        losses: dict[str, Callable[[], Tensor]] = {
            f"{name}-{execution}": partial(self.ours, name, execution)
            for execution in executions
            for name in self.targets
        }
        losses["cross_entropy"] = self.cross_entropy
        if hasattr(torch.nn, "LinearCrossEntropyOptions"):
            losses["linear_cross_entropy"] = self.linear_cross_entropy
        return {name: partial(self.step, loss) for name, loss in losses.items()}

    def peak_bytes(self, case: turns.Case) -> int | None:
        """The largest memory of a step above what is there before it, without the gradients. None:
        this system does not say.
        """
        self.hidden.grad = self.weight.grad = None
        gc.collect()
        gradients = sum(
            values.numel() * values.element_size() for values in (self.hidden, self.weight)
        )
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            case()
            return torch.cuda.max_memory_allocated() - before - gradients
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
            resident = process_status("self", "VmRSS")
            case()
            peak = process_status("self", "VmHWM")
            if resident is not None and peak is not None:
                return max(0, peak - resident - gradients)
        return None


def measured(setting: Setting, rounds: int) -> dict[str, Any]:
    """Seconds, peak bytes and ratios of each way."""
    positions = len(setting.labels)
    chosen = choose(positions, V, setting.device)
    cases = setting.cases(
        (FUSED,) if positions > 1024 and setting.device == "cpu" else (PLAIN, FUSED)
    )
    times = turns.in_turn(cases, rounds, 1, settle=0, fence=turns.settled(setting.device))
    kd = times[f"kd-{chosen}"]
    under = {"ls": f"ls-{chosen}"} | {name: name for name in cases if "cross" in name}
    ratios = {f"kd_to_{key}": turns.ratio(kd, times[name]).to_dict() for key, name in under.items()}
    if "linear_cross_entropy" in times:
        base = turns.ratio(times[f"base-{chosen}"], times["linear_cross_entropy"])
        ratios["base_to_linear_cross_entropy"] = base.to_dict()
    peaks = {name: setting.peak_bytes(case) for name, case in cases.items()}
    seconds = {name: turns.spread(blocks) for name, blocks in times.items()}
    ours, stock = peaks[f"kd-{chosen}"], peaks["cross_entropy"]
    memory = ours / stock if ours is not None and stock else None
    return {
        "chosen": chosen,
        "ratios": ratios,
        "memory_to_cross_entropy": memory,
        "seconds": seconds,
        "peak_bytes": peaks,
    }


def swept(setting: Setting, rounds: int) -> dict[str, Any]:
    """Seconds and peak bytes of KD by the positions of a chunk."""

    def case(rows: int) -> None:
        vocabulary.CHUNK_VALUES[setting.device] = rows * V
        setting.step(partial(setting.ours, "kd", FUSED))

    sizes = [rows for rows in CHUNK_ROWS if rows <= len(setting.labels)]
    cases = {str(rows): partial(case, rows) for rows in sizes}
    fence = turns.settled(setting.device)
    times = turns.in_turn(cases, rounds, 1, settle=0, fence=fence)
    return {
        "seconds": {name: turns.spread(blocks) for name, blocks in times.items()},
        "peak_bytes": {name: setting.peak_bytes(case) for name, case in cases.items()},
    }


def same(case: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(case[name] == other[name] for name in ("d", "positions", "dtype"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--d", type=int, nargs="+", default=[128, 512, 768])
    parser.add_argument("--positions", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    kind = "vocabulary-loss-chunks" if options.sweep else "vocabulary-loss"
    name = f"{kind}-{options.device}"
    measure = swept if options.sweep else measured
    path = RESULTS / f"{name}.json"
    command = f"python benchmarks/bench_vocabulary_loss.py --device {options.device}"
    if options.sweep:
        command += " --sweep"
    head = {"command": command, "machine": machine(options.device), "V": V, "k": K}
    cases = json.loads(path.read_text())["cases"] if path.is_file() else []
    for d in options.d:
        for positions in options.positions:
            for dtype in options.dtype:
                setting = Setting(d, positions, options.device, getattr(torch, dtype))
                key = {"d": d, "positions": positions, "dtype": dtype, "rounds": options.rounds}
                cases = [case for case in cases if not same(case, key)]
                cases.append(key | measure(setting, options.rounds))
                cases.sort(
                    key=lambda case: (case["dtype"] != "float32", case["d"], case["positions"])
                )
                write(name, head | {"cases": cases})


if __name__ == "__main__":
    main()
