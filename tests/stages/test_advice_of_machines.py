"""Advice about what a machine has, and a launcher sets, is followed to the letter."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from logitcache import ranks
from logitcache.forecast.devices import device_of
from logitcache.teacher.dump_job import checked_shard_rows
from tests.advice import Attempts, Cases, arrives
from tests.stages.worlds import World

CASES = Cases()
follow = CASES.follow


@follow("Give --precision bf16 or fp32.")
def half_precision_without_a_gpu(world: World) -> Attempts:
    yield world.runs(precision="fp16")
    yield world.runs(precision="bf16")


@follow("Choose one of these.")
def a_tracker_that_is_not_installed(world: World) -> Attempts:
    yield world.runs(report_to="wandb")
    yield world.runs(report_to="none")


@follow("Give --shard-rows ")
def too_many_shards(world: World) -> Attempts:
    most = 10_000_000
    yield lambda: checked_shard_rows(1, most, (), 1, 1)
    yield lambda: checked_shard_rows(1000, most, (), 1, 1)


@follow("Name one of these with --device")
def a_device_that_nobody_knows(world: World) -> Attempts:
    yield lambda: device_of("Z9")
    yield lambda: device_of("H100")


@follow("Start with torchrun, or unset ")
def half_a_launcher(world: World) -> Attempts:
    before = dict(os.environ)
    os.environ.update(WORLD_SIZE="2", SLURM_NTASKS="2")
    refusal: list[str] = []

    def counted() -> None:
        try:
            ranks.ranks()
        except ValueError as error:
            refusal.append(str(error))
            raise

    yield counted
    for name in re.findall(r"[A-Z_]+", refusal[0].partition("unset ")[2]):
        os.environ.pop(name, None)
    yield ranks.ranks
    os.environ.clear()
    os.environ.update(before)


@follow("Unset it")
def an_accelerate_config(world: World) -> Attempts:
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    yield ranks.check_launcher
    del os.environ["ACCELERATE_MIXED_PRECISION"]
    yield ranks.check_launcher


@pytest.mark.parametrize(("advice", "case"), CASES.parameters())
def test_advice_about_machines_is_followed(
    world: World, advice: str, case: Callable[[World], Attempts]
) -> None:
    arrives(case(world), advice)
