"""On any number of ranks every row counts once an epoch, in one order; gradients, weights and
scores are the same.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.config.train import TrainConfig
from logitcache.data.order import PADDING, permutation
from logitcache.errors import SpecError
from logitcache.ranks import is_first, ranks, said_if_long
from logitcache.records import Examples
from logitcache.stages.train import train
from logitcache.student import checkpoints
from logitcache.student.places import EpochOrder
from tests.runs import result, same, weights
from tests.student.processes import ended, run_ranks, start, start_ranks
from tests.student.rank_work import BATCH, Case, dealt, read_epochs, train_cases, train_or_die

Made = Callable[[int, list[Case]], dict[Case, list[dict[str, np.ndarray[Any, Any]]]]]


def name(case: Case) -> str:
    return f"{case.rows}-{case.accumulate}-{case.workers}-{case.group_by_length}"


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("n", [0, 1, 7, 64, 1003])
def test_ranks_share_each_step_of_the_one_order(n: int, accumulate: int, ranks: int) -> None:
    share = BATCH // (accumulate * ranks)
    order = EpochOrder(n, lambda epoch: permutation(n, 5, epoch), share * ranks if ranks > 1 else 1)
    order.set_epoch(2)
    shards = [list(batches) for batches in dealt(order, share, ranks)]
    assert len(list(order)) == len(order)
    assert len({len(shard) for shard in shards}) == 1
    whole = permutation(n, 5, 2)
    if ranks > 1:
        assert {len(batch) for shard in shards for batch in shard} <= {share}
        assert (
            sum(place == PADDING for shard in shards for batch in shard for place in batch)
            < share * ranks
        )
    for step in range(-(-len(shards[0]) // accumulate)):
        turns = zip(
            *(shard[step * accumulate : (step + 1) * accumulate] for shard in shards), strict=True
        )
        places = [place for turn in turns for batch in turn for place in batch if place != PADDING]
        assert places == whole[step * BATCH : (step + 1) * BATCH].tolist()
    assert -(-len(shards[0]) // accumulate) == -(-n // BATCH)


@pytest.mark.parametrize(
    ("workers", "ranks", "sizes"),
    [
        ((0, 1), (2,), (7,)),
        pytest.param(
            (0, 1, 2, 4),
            (1, 2, 3),
            (0, 1, 7, 64, 1003),
            marks=[pytest.mark.slow, pytest.mark.timeout(600)],
        ),
    ],
)
def test_workers_read_each_row_once(
    workers: tuple[int, ...], ranks: tuple[int, ...], sizes: tuple[int, ...], tmp_path: Path
) -> None:
    assert ended(tmp_path / "log", start(tmp_path / "log", read_epochs, workers, ranks, sizes)) == [
        0
    ]


@pytest.fixture
def made(rows: Examples, cache: Cache, checkpoint: Callable[..., Path], tmp_path: Path) -> Made:
    """``made(ranks, cases)``: what each rank of these trainings saw and got."""

    def make(ranks: int, cases: list[Case]) -> dict[Case, list[dict[str, np.ndarray[Any, Any]]]]:
        folder = tmp_path / str(ranks)
        folder.mkdir()
        run_ranks(
            folder,
            ranks,
            train_cases,
            cases,
            rows,
            cache.folder,
            checkpoint("bert", ("neg", "pos"), 0.0),
            folder,
        )
        return {
            case: [dict(np.load(folder / f"{name(case)}-{rank}.npz")) for rank in range(ranks)]
            for case in cases
        }

    return make


def check(
    case: Case, ranks: list[dict[str, np.ndarray[Any, Any]]], alone: dict[str, np.ndarray[Any, Any]]
) -> None:
    """These ranks' training against that of one rank in whole batches."""
    steps = -(-case.rows // BATCH)
    assert len({len(rank["sizes"]) for rank in ranks}) == 1
    assert all(len(rank["gradients"]) == 2 * steps for rank in ranks)
    step, row, weight = np.concatenate([rank["seen"] for rank in ranks], axis=1)
    for epoch in range(2):
        here = (step // steps == epoch) & (weight > 0)
        assert sorted(row[here].tolist()) == list(range(case.rows))
        for at in range(epoch * steps, epoch * steps + steps):
            order = ranks[0]["order"][epoch * case.rows : (epoch + 1) * case.rows]
            chunk = order[(at - epoch * steps) * BATCH :][:BATCH]
            assert sorted(row[here & (step == at)].tolist()) == sorted(chunk.tolist())
    for rank in ranks:
        scale = np.abs(alone["gradients"]).max()
        assert np.abs(rank["gradients"] - alone["gradients"]).max() <= 1e-5 * scale
        assert (
            np.abs(rank["weights"] - alone["weights"]).max()
            <= 1e-5 * np.abs(alone["weights"]).max()
        )
        assert rank["logits"].shape == (case.rows, 2)
        np.testing.assert_allclose(rank["logits"], alone["logits"], atol=1e-4)
        assert rank["metrics"].tolist() == alone["metrics"].tolist()
        assert rank["metrics"][0] == case.rows


def compare(made: Made, ranks: tuple[int, ...], cases: list[Case]) -> None:
    alone = {case: replace(case, accumulate=1, workers=0) for case in cases}
    reference = made(1, [*dict.fromkeys([*alone.values(), *(cases if 1 in ranks else [])])])
    for count in ranks:
        found = reference if count == 1 else made(count, cases)
        for case in cases:
            check(case, found[case], reference[alone[case]][0])


@pytest.mark.timeout(400)
def test_two_ranks_train_as_one(made: Made) -> None:
    """With a short last batch, one that leaves a rank nothing but padding, and rows grouped by
    length.
    """
    compare(made, (2,), [Case(53, 4), Case(25), Case(7, 4, 0, True)])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_ranks_workers_and_rows_train_as_one(made: Made, ranks: int, workers: int) -> None:
    compare(made, (ranks,), [Case(n, cuts, workers) for n in (1, 7, 48, 53) for cuts in (1, 4)])


@pytest.fixture
def shared(config: TrainConfig, finished: dict[str, Path]) -> TrainConfig:
    """Three steps an epoch, of which the last is short; a checkpoint within each epoch too."""
    taught = replace(config, method="kd", cache=finished["cache"], select="last")
    return replace(taught, batch_size=BATCH, accumulate=2, checkpoint_steps=2)


def killed(folder: Path, config: TrainConfig, ranks: int, last: int) -> None:
    codes = ended(
        folder / "log",
        *start_ranks(folder, ranks, train_or_die, config, last, folder),
        among_killed=True,
    )
    assert -signal.SIGKILL in codes
    assert 0 not in codes


def learnt_from(folder: Path) -> list[list[int]]:
    """The rows of each step, as they counted at last."""
    lines = [
        line.split() for path in folder.glob("seen-*") for line in path.read_text().splitlines()
    ]
    steps: dict[int, list[int]] = {}
    for step, row in lines:
        steps.setdefault(int(step), []).append(int(row))
    return [sorted(steps[step]) for step in sorted(steps)]


def steps_of(rows: int, epochs: int) -> list[list[int]]:
    """What a run with seed 0 learns from at each step."""
    orders = [permutation(rows, 0, epoch) for epoch in range(epochs)]
    return [
        sorted(order[at : at + BATCH].tolist()) for order in orders for at in range(0, rows, BATCH)
    ]


@pytest.mark.slow  # three trainings of two ranks; one process that is killed: test_resume
@pytest.mark.timeout(400)
def test_killed_ranks_go_on_within_the_epoch(shared: TrainConfig, tmp_path: Path) -> None:
    """Killed in the second epoch's second step; the checkpoint was taken behind its first."""
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
    run_ranks(whole, 2, train_or_die, replace(shared, out=whole / "out"), None, whole)
    killed(broken, replace(shared, out=broken / "out"), 2, 8)
    assert (
        checkpoints.last(broken / "out" / "checkpoints")
        == broken / "out" / "checkpoints" / "checkpoint-4"
    )
    for path in broken.glob("seen-*"):  # what was learnt behind the checkpoint is forgotten
        kept = [line for line in path.read_text().splitlines() if int(line.split()[0]) < 4]
        path.write_text("".join(f"{line}\n" for line in kept))
    run_ranks(broken, 2, train_or_die, replace(shared, out=broken / "out"), None, broken)
    assert same(broken / "out", whole / "out")
    assert learnt_from(broken) == learnt_from(whole) == steps_of(60, 3)
    assert result(broken / "out")["rows_seen"] == 180
    assert result(broken / "out")["data"]["eval_rows"] == {"dev": 24, "test": 20}
    assert not list((broken / "out").glob("checkpoints"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 1), (1, 3)])
def test_a_run_goes_on_with_another_number_of_ranks(
    shared: TrainConfig, checkpoint: Callable[..., Path], tmp_path: Path, before: int, after: int
) -> None:
    """A student without dropout, so that the ranks' random states are all that differs."""
    student = str(checkpoint("bert", ("neg", "pos"), 0.0))
    shared = replace(shared, student=student, init="pretrained", learning_rate=1e-4)
    run_ranks(tmp_path, 1, train_or_die, replace(shared, out=tmp_path / "whole"), None, tmp_path)
    config = replace(shared, out=tmp_path / "out")
    killed(tmp_path, config, before, 8)
    for path in tmp_path.glob("seen-*"):
        path.unlink()
    run_ranks(tmp_path, after, train_or_die, config, None, tmp_path)
    assert 3 < len(learnt_from(tmp_path)) < 9
    assert learnt_from(tmp_path) == steps_of(60, 3)[-len(learnt_from(tmp_path)) :]
    left, right = weights(tmp_path / "out"), weights(tmp_path / "whole")
    # its gradient is rounding, which Adam scales
    for part in (name for name in right if not name.endswith("key.bias")):
        np.testing.assert_allclose(left[part], right[part], atol=1e-5 * np.abs(right[part]).max())


def test_a_batch_that_ranks_cannot_share_is_refused_before_anything_is_written(
    shared: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in {"WORLD_SIZE": "5", "RANK": "0", "LOCAL_RANK": "0", **meeting}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        SpecError, match=r"a multiple of 10 \(2 micro-batches on each of 5 processes\), found 24"
    ):
        train(replace(shared, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "1"},
        {"WORLD_SIZE": "2", "LOCAL_RANK": "1"},
        {"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0"},
        {"WORLD_SIZE": "two", "RANK": "0", "LOCAL_RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
        {
            "WORLD_SIZE": "2",
            "RANK": "0",
            "LOCAL_RANK": "0",
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": "ssh",
        },
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
        {"PMI_SIZE": "two"},
    ],
)
def test_variables_of_a_launcher_that_are_half_set_are_refused(
    shared: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        SpecError,
        match=r"WORLD_SIZE as torchrun sets them, or none of them, found .* unset \w*_SIZE",
    ):
        train(replace(shared, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"ACCELERATE_MIXED_PRECISION": "bf16"},
            "ACCELERATE_MIXED_PRECISION unset or no, found bf16. Unset it",
        ),
        (
            {
                "WORLD_SIZE": "2",
                "RANK": "0",
                "LOCAL_RANK": "0",
                "MASTER_ADDR": "a.invalid",
                "MASTER_PORT": "1",
            },
            "a.inv",
        ),
    ],
)
def test_a_launcher_that_would_train_another_way_or_meet_nowhere(
    shared: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SpecError, match=said):
        train(replace(shared, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1"},
        {"RANK": "1", "WORLD_SIZE": "1", "LOCAL_RANK": "1"},
        {"WORLD_SIZE": "", "RANK": "", "PMI_SIZE": "1"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "MASTER_ADDR": "no.invalid"},
    ],
)
def test_one_process_is_the_first_whatever_its_number(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """With RANK alone a training ran to its end and saved nothing."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks() == 1
    assert is_first()


def test_a_launcher_of_one_process_needs_no_address(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accelerate waited for others, or ended in a traceback."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert (train(replace(config, epochs=1.0)) / "result.json").is_file()


def test_a_missing_process_is_said_after_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("logitcache.ranks.UNSAID", 0.05)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with said_if_long():
        time.sleep(0.3)
    assert capsys.readouterr().err.count("waits for the other processes (RANK=") == 1
    monkeypatch.setattr("logitcache.ranks.UNSAID", 5.0)
    with said_if_long():
        pass
    assert capsys.readouterr().err == ""
