"""The devices that a forecast can be made for without running anything."""

from __future__ import annotations

import os

import torch

from logitcache.cost import flops
from logitcache.cost.flops import Device
from logitcache.errors import SpecError

DEVICE_CHARACTERS = 120  # of a device's name in an error


def device_of(name: str | None) -> Device:
    """A device from its maker's data sheet, this machine's or a named GPU. Raises SpecError."""
    gpu = flops.gpu(name or "")
    if gpu is not None:
        return gpu
    if name == "cpu" or (name is None and not torch.cuda.is_available()):
        return flops.cpu(os.cpu_count() or 1)
    model = str(name)
    if torch.cuda.is_available() and (name is None or name.startswith("cuda")):
        model = torch.cuda.get_device_name(name)
    gpu = flops.gpu(model)
    if gpu is None:
        raise SpecError(
            expected=f"a device among cpu, {', '.join(device.name for device in flops.GPUS.values())}",
            found=repr(model[:DEVICE_CHARACTERS]),
            advice="Name one of these with --device, or leave --no-calibrate out.",
            where="--no-calibrate",
        )
    return gpu
