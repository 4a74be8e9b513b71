"""Ray, as far as it is used here: a cluster to connect to, and how its machines are shared out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from logitcache.errors import SpecError


@dataclass(frozen=True)
class Shares:
    """Equal parts of a cluster: how many, and the resources of each as Ray's options name them."""

    count: int
    cpus: int
    gpus: float

    def to_options(self) -> dict[str, float]:
        return {"num_cpus": self.cpus, "num_gpus": self.gpus}


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected: to the cluster that RAY_ADDRESS names, to one that runs on this machine, or
    else to a new one of this machine alone, which ends with the context.

    Raises SpecError where no cluster answers at that address.
    """
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise SpecError(
            expected="a Ray cluster at RAY_ADDRESS",
            found="none that answers",
            advice="Correct RAY_ADDRESS, or unset it for a cluster of this machine alone.",
            where="--ray",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def shares(ray: Any, count: int | None) -> Shares:
    """The cluster cut into so many parts; by default one for each machine."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    count = count or len(machines)
    on_each = math.ceil(count / len(machines))
    cpus = min(int(machine.get("CPU", 1)) for machine in machines) // on_each
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    return Shares(count, max(1, cpus), min(1.0, gpus / count))
