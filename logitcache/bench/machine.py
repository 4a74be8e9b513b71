"""The machine that a figure was measured on, and its largest speed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from logitcache import platforms
from logitcache.bench.turns import settled, timed

PACKAGES = ("logitcache", "torch", "transformers", "numpy", "pyarrow")
_PRODUCT = {"cpu": 1536, "cuda": 8192}  # rows of the matrices that are multiplied
_SECONDS = 0.5


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, memory and device, without the name of a host or a user."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": platforms.cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": platforms.memory_bytes(),
        "system": platform.system(),
        "device": {"kind": "cpu", "name": _processor(), "memory_bytes": None},
    }
    if device.startswith("cuda"):
        gpu = torch.cuda.get_device_properties(torch.device(device))
        facts["device"] = {"kind": "cuda", "name": gpu.name, "memory_bytes": gpu.total_memory}
    return facts


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a figure may depend on."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "none"
    return installed


def peak_memory() -> int:
    """The largest resident set of this process so far, in bytes. The system's own count may include
    that of the parent process, so /proc is read where it exists.
    """
    peak = process_status("self", "VmHWM")
    if peak is not None:
        return peak
    return platforms.peak_memory()


def process_status(pid: int | str, name: str) -> int | None:
    """A size from /proc/PID/status in bytes; None without such a file, or process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def own_memory(pid: int | str) -> int | None:
    """Bytes that belong to a process alone, mapped ones without a file included; pages of mapped
    files are the system's to take back. None where the system does not say, or the process is gone.
    """
    anonymous = process_status(pid, "RssAnon")
    shared = process_status(pid, "RssShmem")
    return None if anonymous is None or shared is None else anonymous + shared


def matrix_peak(device: str, dtype: str = "float32") -> float:
    """FLOPs a second of a large square matrix product: the best within half a second."""
    n = _PRODUCT[device.split(":")[0]]
    left = torch.randn(n, n, device=device).to(getattr(torch, dtype))
    right = torch.randn_like(left)
    fence = settled(device)
    end = time.perf_counter() + _SECONDS
    best = timed(lambda: left @ right, fence)
    while time.perf_counter() < end:
        best = min(best, timed(lambda: left @ right, fence))
    return 2 * n**3 / best


class Energy:
    """Joules a GPU has used so far, where NVML counts them (the package nvidia-ml-py)."""

    def __init__(self, device: str) -> None:
        self._read: Callable[[], float] | None = None
        if not device.startswith("cuda"):
            return
        try:
            import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(torch.device(device)).uuid}"
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError:  # no NVML, or a GPU that does not count
            return
        self._read = lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000

    def joules(self) -> float | None:
        """The joules so far; None where they are not counted."""
        return None if self._read is None else self._read()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    return platform.machine()
