"""A study on a real Ray cluster of two machines, and one of its processes killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import logitcache
from logitcache.cluster import Shares, shares
from logitcache.errors import SpecError
from logitcache.reporter import Notes
from logitcache.study.folder import State
from tests.study.test_study_run import spec_of

ray = pytest.importorskip("ray")


class Machines:
    """What `shares` reads of Ray."""

    def __init__(self, *machines: dict[str, float]) -> None:
        self.machines = machines

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": machine} for machine in self.machines]


def test_each_machine_has_a_part_that_fits_on_it() -> None:
    small, large = {"CPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}
    assert shares(Machines(small, large), None) == Shares(2, 4, 1.0)
    assert shares(Machines(small, large), 4) == Shares(4, 2, 0.5)
    assert shares(Machines(small), 9) == Shares(9, 1, 0.0)


def test_a_cluster_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, singles_data: Path
) -> None:
    def unreachable(**options: Any) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr(ray, "init", unreachable)
    spec = spec_of(singles_data, tmp_path, methods=["base"])
    with pytest.raises(SpecError, match=r"--ray: expected a Ray cluster at RAY_ADDRESS, found"):
        logitcache.run_study(spec, out=tmp_path / "s", ray=True)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


@pytest.mark.timeout(600)
@pytest.mark.slow  # a cluster starts and stops in ten seconds, and each machine loads torch
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_trials_are_shared_by_two_machines_and_a_killed_process_loses_its_trial_alone(
    cluster: Any, singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    spec = spec_of(singles_data, checkpoint(), seeds=[0, 1, 2])
    out = tmp_path / "s"
    pids: list[int] = []
    killed = threading.Event()

    def kill_once(line: str) -> None:
        if not killed.is_set():
            holders = [_pid(lock) for lock in out.glob("trials/**/.logitcache.lock")]
            pids.extend(pid for pid in holders if pid not in (None, os.getpid()))
            if pids:
                os.kill(pids[0], signal.SIGKILL)
                killed.set()

    lines: list[str] = []
    reporter = Notes(lambda line: (lines.append(line), kill_once(line)))
    study = logitcache.run_study(spec, out=out, ray=True, reporter=reporter)
    assert killed.is_set()
    assert [entry.state for entry in study.trials] == [State.DONE] * 9
    assert study.teachers[0].figures["teacher_rows"] == 60
    assert any("(3 of 3 seeds)" in line for line in lines)
    assert not ray.is_initialized()


def _pid(lock: Path) -> int | None:
    try:
        return int(json.loads(lock.read_text())["pid"])
    except (OSError, ValueError):  # it has just ended
        return None
