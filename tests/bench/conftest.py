"""A workload that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logitcache.reporter import SILENT


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What is asked about one-layer models and random tokens; no data is read."""
    from logitcache.config.bench import WorkloadConfig
    from logitcache.config.workspace import Workspace

    return WorkloadConfig(
        student="1x32",
        teacher="1x64",
        shape_only=True,
        tokens=12,
        classes=3,
        rows=40,
        batch_size=4,
        device="cpu",
        workspace=Workspace(tmp_path_factory.mktemp("cost")),
    )


@pytest.fixture(scope="session")
def real(
    checkpoint: Callable[..., Path], singles_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """What is asked about two checkpoints of one tokenizer, and real rows."""
    from logitcache.config.bench import WorkloadConfig
    from logitcache.config.workspace import Workspace

    return WorkloadConfig(
        student=str(checkpoint(dropout=0.0)),
        teacher=str(checkpoint(dropout=0.0)),
        data=str(singles_data),
        batch_size=4,
        max_length=32,
        device="cpu",
        workspace=Workspace(tmp_path_factory.mktemp("cost")),
    )


@pytest.fixture(scope="module")
def dump_config(
    checkpoint: Callable[..., Path], singles_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The tiny BERT over 60 rows, twice each case, in two shards."""
    from logitcache.bench.dump import DumpBenchConfig
    from logitcache.config.workspace import Workspace

    return DumpBenchConfig(
        teacher=str(checkpoint()),
        data=str(singles_data),
        max_length=24,
        batch_tokens=256,
        shard_rows=40,
        device="cpu",
        rounds=2,
        workspace=Workspace(tmp_path_factory.mktemp("bench") / "work"),
    )


@pytest.fixture(scope="module")
def dump_document(dump_config: Any) -> dict[str, Any]:
    """What the bench of a dump writes."""
    from logitcache.bench.dump import bench

    return bench(dump_config, ["logitcache", "bench", "dump"], SILENT)
