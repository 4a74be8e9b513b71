"""Pre-training under a budget: what it spends, what it reads, and what is left of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import transformers

from logitcache.api import compare, dump, run_study, train
from logitcache.cache.cache import Cache
from logitcache.config.budget import Unit
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError
from logitcache.stages.dump_cost import cost_of_rows
from logitcache.student import budget as budgets
from logitcache.student.budget import BudgetClock
from tests.runs import same


class Killed(Exception):
    """As a kill would, this leaves what was last written."""


@pytest.fixture(scope="module")
def asked(lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``asked(out, **options)``: pre-train on the small texts; its folder."""
    folder = tmp_path_factory.mktemp("pretrain")
    student = str(lm("bert", config_only=True))

    def run(out: str, method: str = "base", **options: Any) -> Path:
        values = {
            "task": "masked-lm", "student": student, "tokenizer": str(lm("bert")), "init": "random",
            "seq_len": 24, "batch_size": 4, "warmup": 0.25, "workspace": folder, "out": folder / out,
            "notify": lambda line: None,
        }  # fmt: skip
        return train(method, str(texts), **{**values, **options})

    return run


@pytest.fixture(scope="module")
def whole(asked: Any) -> Path:
    folder: Path = asked("whole", budget="steps=16", regime="repeat")
    return folder


def result(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


def test_a_budget_of_steps_trains_as_epochs_of_so_many_steps(asked: Any) -> None:
    """The schedule is Trainer's own, so the weights are the same."""
    budgeted = asked("budgeted", budget="steps=8")
    assert pq.read_table(budgeted / "steps.parquet").num_rows == result(budgeted)["steps"] == 8
    per_epoch = -(-result(budgeted)["data"]["train_rows"] // 4)
    plain = asked("plain", epochs=8 / per_epoch, select="last")
    assert result(plain)["steps"] == 8
    assert same(plain, budgeted)


@pytest.mark.slow  # budgets that go on: test_budget; runs that go on: tests/student/test_resume
def test_killed_and_resumed_five_times_it_ends_as_unbroken(
    asked: Any, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_step_end = BudgetClock.on_step_end
    made = []

    def killed(clock: BudgetClock, *args: Any, **kwargs: Any) -> None:
        made.append(1)
        if len(made) in (3, 6, 10, 14, 17):
            raise Killed
        on_step_end(clock, *args, **kwargs)

    monkeypatch.setattr(BudgetClock, "on_step_end", killed)
    for _ in range(5):
        with pytest.raises(Killed):
            asked("broken", budget="steps=16", regime="repeat")
    broken = asked("broken", budget="steps=16", regime="repeat")
    assert same(broken, whole)
    progress = [
        pq.read_table(run / "steps.parquet")["progress"].to_pylist() for run in (broken, whole)
    ]
    assert progress[0] == progress[1]
    assert len(made) < 40  # it went on from checkpoints


def test_a_run_killed_while_it_is_scored_makes_no_further_step(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(clock: BudgetClock, what: str) -> None:
        if what == "evaluation":
            raise Killed
        stand(clock, what)

    stand = BudgetClock.stand
    with monkeypatch.context() as patch:
        patch.setattr(BudgetClock, "stand", killed)
        with pytest.raises(Killed):
            asked("scored", budget="steps=8")
    monkeypatch.setattr(BudgetClock, "on_step_end", None)
    assert result(asked("scored", budget="steps=8"))["budget"]["training"] == 8


def test_a_curve_changes_nothing_of_the_training(asked: Any, whole: Path) -> None:
    curve = asked("curve", budget="steps=16", regime="repeat", evaluations=3)
    assert same(curve, whole)
    history = result(curve)["history"]
    assert [entry["progress"] for entry in history] == [0.25, 0.5, 0.75]
    assert all(entry["nll"] > 0 for entry in history)
    assert not result(whole)["history"]


@pytest.mark.slow  # budgets of time: tests/student/test_budget
def test_a_budget_of_time_can_be_replayed_to_the_step(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by 20 ms each time it is read, however busy the machine is."""
    readings = count()
    clock = SimpleNamespace(perf_counter=lambda: 0.02 * next(readings))
    monkeypatch.setattr(budgets, "time", clock)
    timed = asked("timed", budget="0.3s", regime="repeat")
    budget = result(timed)["budget"]
    assert budget["training"] == pytest.approx(0.3, abs=0.1)
    assert budget["unit"] == "seconds"
    replayed = asked("replayed", budget=f"steps-of:{timed}", regime="repeat")
    assert result(replayed)["steps"] == result(timed)["steps"]
    assert same(replayed, timed)
    assert result(replayed)["config"]["budget"]["amount"].startswith(
        f"{result(timed)['steps']} steps of "
    )


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("steps=1000", r"expected text for 1,000 steps, none of it twice, found 1\d steps"),
        ("1Mtokens", r"expected text for 1e\+06 tokens, none of it twice, found 1,\d\d\d tokens"),
        ("1e15flops", r"--budget: expected text for 1e\+15 FLOPs of training.*--regime repeat"),
    ],
)
def test_fresh_text_that_is_too_short_is_refused(asked: Any, budget: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        asked(f"short-{budget}", budget=budget)
    again = asked(f"short-{budget}", budget="steps=5")  # nothing is left of it
    assert result(again)["budget"]["tokens"] <= 5 * 4 * 24


def test_cached_kd_under_a_budget_is_compared_with_base(
    asked: Any, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    report = dump(
        str(lm("bert")), str(texts), task="masked-lm", seq_len=24, device="cpu", workspace=tmp_path,
        notify=lambda line: None,
    )  # fmt: skip
    runs = [
        asked(tmp_path / method, method, cache=report.cache, seq_len=None, budget="steps=6")
        for method in ("base", "kd", "mlm=1,kd=1")
    ]
    live = asked(tmp_path / "live", "kd", live=str(lm("bert")), budget="steps=6", tokenizer=None)
    cached = result(tmp_path / "kd")
    # the same rows, masks and order; the cache's answers are halves
    assert result(live)["data"]["digest"] == cached["data"]["digest"]
    assert result(live)["metrics"]["dev"]["nll"] == pytest.approx(
        cached["metrics"]["dev"]["nll"], abs=2e-3
    )
    assert result(live)["budget"]["flops"] > 1.2 * cached["budget"]["flops"]
    replay = dump(
        str(lm("bert")), str(texts), task="masked-lm", seq_len=24, device="cpu", workspace=tmp_path,
        codec="replay", out=tmp_path / "replay", notify=lambda line: None,
    )  # fmt: skip
    replayed = asked(
        tmp_path / "replayed", "kd", cache=replay.cache, seq_len=None, budget="steps=6"
    )
    codec = Cache.open(replay.cache).codec
    products = (result(replayed)["budget"]["flops"] - cached["budget"]["flops"]) / (
        2 * codec.width * codec.hidden
    )
    assert products == int(products) > 6  # one for each masked token
    charged = asked(
        tmp_path / "charged", "kd", cache=report.cache, seq_len=None, regime="repeat",
        budget="2e8flops", charge_dump=10, workspace=tmp_path, rows=9,
    )  # fmt: skip
    budget = result(charged)["budget"]
    assert budget["charged"]["runs"] == 10
    cache = Cache.open(report.cache)
    paid = cost_of_rows(Workspace(tmp_path), cache, Unit.FLOPS, 9)
    assert len(cache) > 9
    assert budget["charged"]["cost"] == pytest.approx(paid)
    assert budget["charged"]["dump"] == budget["charged"]["cost"] / 10 > 0
    spent = budget["charged"]["dump"] + budget["training"]
    assert spent == pytest.approx(2e8, rel=0.5 / result(charged)["steps"])
    comparison = compare(*runs)
    assert {row.method for row in comparison.rows} == {"base", "kd", "mlm=1,kd=1"}
    assert not [note for note in comparison.notes if "differ in more than the method" in note]
    for run in runs:
        model = transformers.AutoModelForMaskedLM.from_pretrained(run)
        assert torch.isfinite(model.get_output_embeddings().weight).all()
        assert "nll" in result(run)["metrics"]["dev"]


@pytest.mark.slow  # five trainings
def test_a_study_of_budgets_whose_students_are_finetuned(
    lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """Both recipes, the dump shared and a live teacher; the pre-LN student takes a classifier's
    head."""
    teacher = str(lm("bert"))
    study = run_study(
        {
            "tasks": {"texts": {"data": str(texts)}},
            "students": ["1x16"],
            "methods": {
                "base": {"norm": "pre"},
                "kd-shared": {"method": "kd", "norm": "post"},
                "minilm-live": {"method": "minilm", "live": "teacher", "charge_dump": 0},
            },
            "seeds": [1],
            "settings": {
                "task": "masked-lm", "seq_len": 24, "batch_size": 4, "warmup": 0.25,
                "budget": "1e8flops", "regime": "repeat", "charge_dump": 10,
            },
            "teacher": {"teacher": teacher, "device": "cpu"},
        },
        out=tmp_path / "study",
        notify=lambda line: None,
    )  # fmt: skip
    trials = {trial.planned.method: trial for trial in study.trials}
    assert {name: trial.end.error for name, trial in trials.items()} == dict.fromkeys(trials)
    charged = {name: result(trial.folder)["budget"]["charged"] for name, trial in trials.items()}
    assert charged["base"]["dump"] == charged["minilm-live"]["dump"] == 0
    assert charged["kd-shared"]["dump"] > 0
    assert result(trials["base"].folder)["config"]["norm"] == "pre"
    finetuned = train(
        "base", {"text": ["w1 w2", "w3 w4"] * 20, "label": ["a", "b"] * 20}, epochs=1,
        student=str(trials["base"].folder), norm="pre", out=tmp_path / "tuned", notify=lambda line: None,
    )  # fmt: skip
    model = transformers.AutoModelForSequenceClassification.from_pretrained(finetuned)
    assert model.config.model_type == "megatron-bert"
    with pytest.raises(
        SpecError,
        match=r"--norm post: expected a post-LN model, found megatron-bert, which is pre-LN",
    ):
        train("base", {"text": ["w1", "w2"] * 20, "label": ["a", "b"] * 20}, norm="post",
              student=str(trials["base"].folder), notify=lambda line: None)  # fmt: skip
