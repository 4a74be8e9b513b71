"""Floating-point types that a processor has no instructions for, so that PyTorch emulates them."""

from __future__ import annotations

import time

import torch

from logitcache.reporter import Reporter

SIZE = 128  # rows and columns of the matrices whose product is timed: up to 10 ms
ROUNDS = 5
NOTED_FROM = 2.0  # times as long as in float32


def note_emulated(
    option: str, dtype: torch.dtype, device: torch.device, reporter: Reporter
) -> None:
    """Note where products of ``dtype`` take much longer on this processor than those of float32.

    Many CPUs have no bfloat16 instructions: a training with ``--precision bf16`` then takes tens of
    times as long, and PyTorch does not warn.
    """
    ratio = slowdown(dtype, device)
    if ratio >= NOTED_FROM:
        reporter.note(
            f"{option}: this processor emulates {str(dtype).removeprefix('torch.')}, so a product "
            f"of matrices takes {ratio:.0f} times as long as in float32, the default"
        )


def slowdown(dtype: torch.dtype, device: torch.device) -> float:
    """Time of a product of matrices on one core of the CPU ÷ that in float32; 1 on other devices."""
    if dtype == torch.float32 or device.type != "cpu":
        return 1.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other on a busy machine
    try:
        return _seconds(dtype) / _seconds(torch.float32)
    finally:
        torch.set_num_threads(threads)


def _seconds(dtype: torch.dtype) -> float:
    """The shortest of ``ROUNDS`` products, after one that is not timed."""
    matrix = torch.ones(SIZE, SIZE, dtype=dtype)
    matrix @ matrix
    durations = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        matrix @ matrix
        durations.append(time.perf_counter() - start)
    return min(durations)
