"""Head and loss of a vocabulary, forward and backward: KD on 64 words, label smoothing and gold
labels in our executions, beside PyTorch's cross_entropy(label_smoothing=) and linear_cross_entropy.

    python benchmarks/bench_vocabulary_loss.py [--d 128 ...] [--positions 512 ...]
        [--dtype float32 ...] [--device cpu] [--rounds 7] [--kind loss|gold|chunks|parts]

Times are measured in turn; a ratio is the median of the rounds' ratios, with its interval. Ratios of
the processors' time, best of one thread (OMP_NUM_THREADS=1), suffer less from what else a machine
does. Memory is the peak of the resident set (on a GPU of what is allocated) above what is there
before, without the gradients. ``--kind gold`` is PyTorch's linear_cross_entropy, ``chunks`` the
sizes of a chunk, ``parts`` its single products and passes. What is measured replaces the same cases in
results/vocabulary-KIND-DEVICE[-one-thread].json, so a part of it can be made again.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
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
CHUNK_ROWS = (64, 128, 256, 512, 1024)


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

    def chosen(self) -> str:
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
            return choose(self.hidden, Head(self.weight))

    def cases(self) -> dict[str, turns.Case]:
        """KD and LS in the execution that is chosen, KD in the other one where its logits fit, and
        PyTorch's own loss.
        """
        chosen = self.chosen()
        fits = len(self.labels) <= 1024 or self.device != "cpu"
        losses: dict[str, Callable[[], Tensor]] = {
            "kd": partial(self.ours, "kd", chosen),
            "ls": partial(self.ours, "ls", chosen),
        }
        if fits:
            other = FUSED if chosen == PLAIN else PLAIN
            losses[f"kd-{other}"] = partial(self.ours, "kd", other)
        losses["cross_entropy"] = self.cross_entropy
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
    cases = setting.cases()
    peaks = {name: setting.peak_bytes(case) for name, case in cases.items()}
    times, processor = taken(cases, rounds, setting.device)
    names = {"kd_to_ls": "ls", "kd_to_cross_entropy": "cross_entropy"}
    ratios = {key: turns.ratio(times["kd"], times[name]).to_dict() for key, name in names.items()}
    ours, stock = peaks["kd"], peaks["cross_entropy"]
    memory = ours / stock if ours is not None and stock else None
    return {
        "chosen": setting.chosen(),
        "ratios": ratios,
        "processor_ratios": {
            key: turns.ratio(processor["kd"], processor[name]).to_dict()
            for key, name in names.items()
        },
        "of_fastest": {
            key: fastest(times["kd"]) / fastest(times[name]) for key, name in names.items()
        },
        "memory_to_cross_entropy": memory,
        "seconds": {name: turns.spread(blocks) for name, blocks in times.items()},
        "peak_bytes": peaks,
    }


def parts(setting: Setting, rounds: int) -> dict[str, Any]:
    """Milliseconds of what the fused loss is made of, all positions in one chunk."""
    hidden, weight = setting.hidden.detach(), setting.weight.detach()
    teacher = setting.targets["kd"].payload
    assert isinstance(teacher, Sparse)
    logits = hidden @ weight.T
    memory, sums = torch.empty_like(logits), torch.zeros_like(weight)
    half_hidden, half_weight, half = (
        values.bfloat16() for values in (hidden, weight, logits.softmax(1))
    )
    cases: dict[str, turns.Case] = {
        "logits": lambda: torch.mm(hidden, weight.T, out=memory),
        "softmax": lambda: torch.softmax(logits, 1, out=memory),
        "maximum": lambda: logits.amax(1),
        "log-sum-exp": lambda: logits.logsumexp(1),
        "gather": lambda: logits.gather(1, teacher.ids),
        "scatter": lambda: memory.scatter_add_(1, teacher.ids, teacher.prob),
        "gradient of the input": lambda: logits @ weight,
        "gradient of the weight": lambda: sums.addmm_(logits.T, hidden),
        "logits, bfloat16": lambda: half_hidden @ half_weight.T,
        "gradient of the input, bfloat16": lambda: half @ half_weight,
        "gradient of the weight, bfloat16": lambda: half.T @ half_hidden,
    }
    for case in cases.values():
        case()
    times, _ = taken(cases, rounds, setting.device)
    return {"milliseconds": {name: 1e3 * turns.spread(t)["median"] for name, t in times.items()}}


def fastest(blocks: turns.Blocks) -> float:
    return min(min(block) for block in blocks)


def gold(setting: Setting, rounds: int) -> dict[str, Any]:
    """Gold labels in our loss and in PyTorch's."""
    cases = {
        "base": partial(setting.step, partial(setting.ours, "base", setting.chosen())),
        "linear_cross_entropy": partial(setting.step, setting.linear_cross_entropy),
    }
    times, _ = taken(cases, rounds, setting.device)
    ratio = turns.ratio(times["base"], times["linear_cross_entropy"])
    return {
        "ratios": {"base_to_linear_cross_entropy": ratio.to_dict()},
        "seconds": {name: turns.spread(blocks) for name, blocks in times.items()},
    }


def taken(
    cases: dict[str, turns.Case], rounds: int, device: str
) -> tuple[turns.Times, turns.Times]:
    """(seconds, seconds of the processors) of cases that have run once already, measured in turn."""
    times: turns.Times = {name: [] for name in cases}
    processor: turns.Times = {name: [] for name in cases}
    fence = turns.settled(device)
    for order in turns.rotated(list(cases), rounds):
        for name in order:
            before = time.process_time()
            times[name].append([turns.timed(cases[name], fence)])
            processor[name].append([time.process_time() - before])
    return times, processor


def swept(setting: Setting, rounds: int) -> dict[str, Any]:
    """Seconds and peak bytes of KD by the positions of a chunk."""

    def case(rows: int) -> None:
        vocabulary.CHUNK_VALUES[setting.device] = rows * V
        setting.step(partial(setting.ours, "kd", FUSED))

    sizes = [rows for rows in CHUNK_ROWS if rows <= len(setting.labels)]
    cases = {str(rows): partial(case, rows) for rows in sizes}
    peaks = {name: setting.peak_bytes(case) for name, case in cases.items()}
    times, _ = taken(cases, rounds, setting.device)
    return {
        "seconds": {name: turns.spread(blocks) for name, blocks in times.items()},
        "to_512": {name: turns.ratio(times[name], times["512"]).to_dict() for name in times},
        "peak_bytes": peaks,
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
    kinds = {"loss": measured, "gold": gold, "chunks": swept, "parts": parts}
    parser.add_argument("--kind", choices=kinds, default="loss")
    options = parser.parse_args()
    name = f"vocabulary-{options.kind}-{options.device}"
    if torch.get_num_threads() == 1:
        name += "-one-thread"
    command = "python benchmarks/bench_vocabulary_loss.py"
    command += f" --kind {options.kind} --device {options.device}"
    path = RESULTS / f"{name}.json"
    head = {"command": command, "machine": machine(options.device), "V": V, "k": K}
    cases = json.loads(path.read_text())["cases"] if path.is_file() else []
    for d in options.d:
        for positions in options.positions:
            for dtype in options.dtype:
                setting = Setting(d, positions, options.device, getattr(torch, dtype))
                key = {"d": d, "positions": positions, "dtype": dtype, "rounds": options.rounds}
                cases = [case for case in cases if not same(case, key)]
                cases.append(key | kinds[options.kind](setting, options.rounds))
                cases.sort(
                    key=lambda case: (case["dtype"] != "float32", case["d"], case["positions"])
                )
                write(name, head | {"cases": cases})


if __name__ == "__main__":
    main()
