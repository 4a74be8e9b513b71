"""A plan takes what `dump` and `train` take: what decides a cost is counted, the rest is passed
over and said.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.config.bench import PlanConfig, WorkloadConfig
from logitcache.config.methods import METHODS
from logitcache.config.teacher import DumpSettings, Finetune, TeacherSpec
from logitcache.config.workspace import Workspace
from logitcache.cost.costs import Runs, StepCosts, total
from logitcache.errors import SpecError
from logitcache.forecast import finetuning
from logitcache.forecast.calibrate import Calibration
from logitcache.forecast.epoch import mean_tokens, share_of_epoch, training_batches
from logitcache.forecast.finetuning import finetune_steps
from logitcache.forecast.forecast import Forecast, plan
from logitcache.forecast.setup import load_inputs
from logitcache.report.terminal import plan_text
from logitcache.reporter import SILENT
from logitcache.stages.finetune import prepare_teacher
from logitcache.store.stores import NAMES
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from logitcache_cli import dump as dump_cli
from logitcache_cli import plan as cli
from logitcache_cli import train as train_cli
from tests.runs import Steps

Load = Callable[[Path], Any]


@pytest.fixture
def asked(singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path) -> PlanConfig:
    work = WorkloadConfig(
        student="1x32", teacher=str(checkpoint()), data=str(singles_data), max_length=32, batch_size=8, device="cpu",
        workspace=Workspace(tmp_path / "work"),
    )  # fmt: skip
    return PlanConfig(work, seconds=0.01, calibrate=False)


def changed(asked: PlanConfig, **named: Any) -> Forecast:
    return plan(replace(asked, work=replace(asked.work, **named)))


def names(command: click.Command) -> set[str]:
    return {option for param in command.params for option in (*param.opts, *param.secondary_opts)}


def test_a_plan_takes_every_option_of_dump_and_of_train() -> None:
    missing = (names(dump_cli.command) | names(train_cli.command)) - names(cli.command)
    assert not missing
    shown = {param.name for param in cli.command.params if not getattr(param, "hidden", False)}
    assert not shown & set(cli.UNCOUNTED)


def test_what_changes_nothing_is_said(asked: PlanConfig) -> None:
    work = asked.work
    words = [
        "--teacher",
        work.teacher,
        "--data",
        work.data,
        "--student",
        "1x32",
        "--no-calibrate",
        "--device",
        "cpu",
    ]
    words += [
        "--workspace",
        str(work.workspace.folder),
        "--alpha",
        "0.9",
        "--out",
        "there",
        "--no-tau-squared",
    ]
    done = CliRunner().invoke(cli.command, [*words, "--workers", "2", "--part", "1/2"])
    assert done.exit_code == 0, done.output
    assert "--out, --alpha, --tau-squared: passed over, as it decides no cost" in done.stderr
    assert "--part, --workers: not counted" in done.stderr
    quiet = CliRunner().invoke(cli.command, words[:-5])
    assert quiet.exit_code == 0
    assert "passed over" not in quiet.stderr


def test_a_shape_is_trained_first(asked: PlanConfig) -> None:
    told = changed(asked, teacher="2x64")
    first = told.dump.finetune
    assert first is not None
    assert first.steps == 3 * ceil(60 / 32)
    assert first.seconds > 0
    assert "`in all` counts training the teacher" in told.notes[1]
    without = plan(replace(asked, work=replace(asked.work, teacher="2x64"), methods=("base",)))
    assert without.total.seconds == pytest.approx(without.methods["base"].run_seconds)
    both = plan(replace(asked, work=replace(asked.work, teacher="2x64"), methods=("kd",)))
    sums = first.seconds + both.dump.seconds + both.methods["kd"].run_seconds
    assert both.total.seconds == pytest.approx(sums)
    assert 3600 * both.total.online_hours == pytest.approx(
        first.seconds + both.methods["kd-online"].run_seconds
    )
    assert plan(asked).dump.finetune is None


@pytest.mark.parametrize("folds", [None, 3])
def test_a_fine_tuning_has_as_many_steps_as_a_dumps(
    folds: int | None, asked: PlanConfig, load_source: Load
) -> None:
    how = Finetune(epochs=0.5, batch_size=8, folds=folds)
    last = dict[int, int]()
    done: list[int] = []

    def count(step: int, of: int) -> None:
        if step <= (done[-1] if done else 0) or not done:
            last[len(last)] = of
        done.append(step)

    source = load_source(Path(asked.work.data))
    prepare_teacher(
        TeacherSpec("1x32", device="cpu"),
        how,
        source,
        32,
        asked.work.workspace,
        reporter=Steps(count),
    )
    foretold = finetune_steps(how, 60)
    # a fold is a seventh larger or smaller than another
    assert abs(sum(last.values()) - foretold) <= (folds or 0)
    ready = load_inputs(
        replace(asked, finetune=how, work=replace(asked.work, teacher="1x32")), SILENT
    )
    assert ready.finetune == how


def test_folds_are_trained_without_one_of_them() -> None:
    assert finetune_steps(Finetune(epochs=3, batch_size=10), 100) == 30
    assert finetune_steps(Finetune(epochs=3, batch_size=10, folds=5), 100) == 5 * 3 * 8


def test_a_fine_tuning_is_timed_by_training_a_copy(asked: PlanConfig) -> None:
    work = replace(asked.work, teacher="2x64")
    ready = load_inputs(replace(asked, work=work), SILENT)
    before = {name: each.clone() for name, each in ready.work.teacher.model.state_dict().items()}
    with Calibration(ready.work, ready.dumps[0], 0.01, ready.finetune) as calibration:
        speeds = calibration.speeds()
    assert speeds.finetune_step is not None
    assert speeds.finetune_step > 0
    model = ready.work.teacher.model
    assert not any(each.requires_grad for each in model.parameters())
    assert all((before[name] == each).all() for name, each in model.state_dict().items())


def test_never_is_refused_where_a_teacher_has_to_be_trained(asked: PlanConfig) -> None:
    never = Finetune("never")
    with pytest.raises(SpecError, match="--finetune never: expected a trained head, found none"):
        plan(replace(asked, finetune=never, work=replace(asked.work, teacher="1x32")))
    shape = replace(asked.work, teacher="1x32", shape_only=True)
    assert plan(replace(asked, finetune=never, work=shape)).dump.finetune is None
    assert plan(replace(asked, finetune=Finetune("always"))).dump.finetune is not None
    with pytest.raises(SpecError, match="--finetune: expected one of"):
        plan(replace(asked, finetune=Finetune("sometimes")))


def test_folds_of_a_trained_teacher_are_noted(asked: PlanConfig) -> None:
    assert "--finetune always" in plan(replace(asked, finetune=Finetune(folds=3))).notes[-1]


def test_self_kd_with_folds_trains_copies() -> None:
    steps = StepCosts(dict.fromkeys(METHODS, 1), 2, 0)
    plain, folded = Runs(100, 10, 3, 2), Runs(100, 10, 3, 2, folds=5)
    both = ("base", "self-kd")
    assert total(steps, 0, plain, both).cached == 2 * 30 + 2 * 30
    assert total(steps, 0, folded, both).cached == 2 * 30 + 2 * 30 + 2 * 5 * 24


@pytest.mark.parametrize("store", NAMES)
def test_shards_and_store_are_those_asked_for(
    store: str, asked: PlanConfig, load_source: Load, tmp_path: Path
) -> None:
    told = plan(replace(asked, store=store, shard_rows=25)).to_dict()
    source, folder = load_source(Path(asked.work.data)), tmp_path / "cache"
    settings = DumpSettings(32, shard_rows=25, store=store)
    dump_split(load_teacher(asked.work.teacher, device="cpu"), source, "train", folder, settings)
    weight = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert told["bytes"]["float16"]["bytes"] == pytest.approx(weight, rel=0.01)
    assert (told["setting"]["store"], told["setting"]["shard_rows"]) == (store, 25)


def test_another_split_is_dumped_alone(asked: PlanConfig, unlabelled_data: Path) -> None:
    told = plan(replace(asked, split="dev", unlabelled=str(unlabelled_data))).to_dict()
    assert (told["setting"]["rows"], told["setting"]["unlabelled_rows"]) == (24, 30)
    assert load_inputs(asked, SILENT).dev_rows == 24
    # whom a dump of dev asks once
    assert load_inputs(replace(asked, split="dev"), SILENT).dev_rows == 0
    with pytest.raises(SpecError, match="nosuch"):
        plan(replace(asked, split="nosuch"))


def test_fewer_rows_are_fewer_steps_and_the_same_dump(asked: PlanConfig) -> None:
    whole, some = plan(asked), plan(replace(asked, rows=20))
    assert some.rows == whole.rows == 60
    assert some.methods["kd"].epoch_seconds == pytest.approx(3 * some.methods["kd"].step_seconds)
    assert (
        plan(replace(asked, rows=1000)).methods["kd"].epoch_seconds
        == whole.methods["kd"].epoch_seconds
    )


def test_micro_batches_take_less_memory(asked: PlanConfig) -> None:
    whole, cut = changed(asked), changed(asked, accumulate=4)
    assert cut.methods["ls"].memory_bytes < whole.methods["ls"].memory_bytes
    with pytest.raises(SpecError, match="batch size divisible by --accumulate, found 8 and 3"):
        changed(asked, accumulate=3)


def test_rows_of_like_length_are_less_padding(asked: PlanConfig) -> None:
    mixed, grouped = changed(asked), changed(asked, group_by_length=True)
    assert grouped.methods["ls"].step_seconds < mixed.methods["ls"].step_seconds
    assert (
        plan(
            replace(asked, calibrate=True, work=replace(asked.work, group_by_length=True))
        ).total.seconds
        > 0
    )


def test_a_student_is_made_as_asked(asked: PlanConfig, checkpoint: Callable[..., Path]) -> None:
    small, large = changed(asked, vocabulary=120), changed(asked)
    assert small.setting["student"]["parameters"] < large.setting["student"]["parameters"]
    with_other = changed(asked, student_tokenizer=asked.work.teacher)
    assert with_other.setting["student"]["parameters"] != large.setting["student"]["parameters"]
    with pytest.raises(SpecError, match="no pretrained weights"):
        changed(asked, init="pretrained")
    assert changed(asked, student=asked.work.teacher, init="random").total.seconds > 0
    drawn = [changed(asked, shape_only=True, vocabulary=size) for size in (500, 1000)]
    sizes = [each.setting["student"]["embedding_parameters"] for each in drawn]
    assert sizes[1] - sizes[0] == 500 * 32


def test_some_batches_stand_for_an_epoch_by_their_tokens() -> None:
    lengths = np.array([4, 4, 8, 8, 2, 2])
    batches = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]
    assert mean_tokens(lengths, batches) == pytest.approx(28 / 3)
    assert share_of_epoch(lengths, batches, 1, 2) == pytest.approx(28 / 3 / 16)
    assert share_of_epoch(lengths, batches, 0, 3) == 1
    assert share_of_epoch(lengths, batches, 1, 4) == 1  # more than an epoch was timed
    grouped = training_batches(np.arange(1, 33), 4, 0, grouped=True)
    assert all(np.ptp(each) == 3 for each in grouped)


def test_each_dump_is_told_from_its_own_rows(asked: PlanConfig, tmp_path: Path) -> None:
    long, short = tmp_path / "long.jsonl", tmp_path / "short.jsonl"
    for path, words in ((long, 25), (short, 2)):
        lines = (json.dumps({"text": f"{'good film ' * words}{i}"}) for i in range(50))
        path.write_text("\n".join(lines))
    told = [plan(replace(asked, unlabelled=str(path))) for path in (long, short)]
    assert told[0].dump.seconds > 1.3 * told[1].dump.seconds
    assert "steps were taken from labelled rows" in told[0].notes[-1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"finetune": Finetune(epochs=float("inf"))},
            "--finetune-epochs: expected a number above 0, found inf",
        ),
        (
            {"finetune": Finetune(epochs=float("nan"))},
            "--finetune-epochs: expected a number above 0, found nan",
        ),
        (
            {"finetune": Finetune(batch_size=0)},
            "--finetune-batch-size: expected a whole number from 1, found 0",
        ),
        (
            {"work": WorkloadConfig(seed=-1)},
            "--seed: expected a whole number from 0 to 4294967295, found -1",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    asked: PlanConfig, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        plan(replace(asked, **wrong))


def test_a_step_has_a_part_that_no_batch_makes_longer(
    asked: PlanConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(
        work: Any, teacher: Any, finetune: Finetune, size: int, seconds: float
    ) -> tuple[float, float]:
        return 10.0 * size, 7.0 + 0.1 * 10 * size

    monkeypatch.setattr(finetuning, "_timed", timed)
    work = load_inputs(replace(asked, work=replace(asked.work, teacher="1x32")), SILENT).work
    lengths = work.teacher_rows.lengths()
    wanted = mean_tokens(lengths, training_batches(lengths, 32, 0, grouped=True))
    for forward in (1.0, 1e-9):  # of a few rows, and of all
        found = finetuning.step_timed(work, Finetune(), 12.0, forward)
        assert found == pytest.approx(7.0 + 0.1 * wanted, rel=0.3 if forward < 1 else 1e-6)


def test_only_a_study_with_a_teacher_breaks_even(asked: PlanConfig) -> None:
    told = plan(replace(asked, methods=("base",))).to_dict()
    text = plan_text(told)
    assert "paid for itself" not in text
    assert "teachers in the loop" not in text
