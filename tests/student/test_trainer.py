"""Training on Trainer: the first loss from a cache is the live teacher's, a row keeps its teacher's answer, batches are
cut as one likes, checkpoints are the student's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, TrainerCallback, set_seed

from logitcache.cache import Cache
from logitcache.data.collate import Collator
from logitcache.data.order import grouped_permutation, permutation, token_batches
from logitcache.data.prepare import Prepared, prepare
from logitcache.data.source import Source
from logitcache.data.task import Classification
from logitcache.errors import AlignmentError, SpecError
from logitcache.records import Batch
from logitcache.student.methods import Objective, objective
from logitcache.student.trainer import (
    Distiller,
    DistillTrainer,
    EpochOrder,
    FitSettings,
    Places,
    arguments,
    check_report,
    to_torch,
)
from logitcache.teacher.dump import DumpSettings, dump
from logitcache.teacher.model import LiveTeacher, TeacherModel, load_teacher, quiet

KINDS = ("bert", "roberta", "gpt2-right", "gpt2-left")
LABELS = {"singles": ("neg", "pos"), "pairs": ("contradiction", "entailment", "neutral")}
TASK = Classification(2, LABELS["singles"])
SETTINGS = FitSettings(
    epochs=2.0,
    learning_rate=0.05,
    batch_size=8,
    accumulate=1,
    weight_decay=0.0,
    warmup=0.0,
    seed=0,
    precision="fp32",
    select="last",
    metric="accuracy",
    report_to="none",
    group_by_length=False,
)


@pytest.fixture(scope="module")
def sources(singles_data: Path, pairs_data: Path, load_source: Callable[[Path], Source]) -> dict[str, Source]:
    return {"singles": load_source(singles_data), "pairs": load_source(pairs_data)}


@pytest.fixture(scope="module")
def student(checkpoint: Callable[..., Path]) -> Callable[..., TeacherModel]:
    """``student(labels, dropout=0.0)``: a fresh copy of a tiny BERT with its tokenizer, other than any teacher here."""

    def make(labels: tuple[str, ...] = LABELS["singles"], dropout: float = 0.0) -> TeacherModel:
        return load_teacher(str(checkpoint("bert", labels, dropout)), device="cpu")

    return make


@pytest.fixture(scope="module")
def rows(sources: dict[str, Source], student: Callable[..., TeacherModel]) -> Prepared:
    return prepare(student().tokenizer, sources["singles"].split("train"), 48)


@pytest.fixture(scope="module")
def cache(
    sources: dict[str, Source], checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Cache:
    """A RoBERTa's answers to the single texts."""
    folder = tmp_path_factory.mktemp("cache") / "c"
    teacher = load_teacher(str(checkpoint("roberta")), device="cpu")
    dump(teacher, sources["singles"], "train", folder, DumpSettings(48, 300, "float16", 25))
    return Cache.open(folder)


def first_loss(model: Any, goal: Objective, batch: Batch[Any]) -> torch.Tensor:
    """Each row's loss, f32[P], with the dropout of one seed."""
    set_seed(0)
    distiller = Distiller(model, goal).train()
    tensors = batch.map(torch.from_numpy)
    summed, logits = distiller(tensors)
    loss = goal.loss(logits, tensors.labels, next(iter(tensors.targets.values())).payload.logits)
    assert summed.item() == pytest.approx(loss.sum().item(), rel=1e-6)
    return loss.detach()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("data", LABELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_loss_from_a_cache_is_the_live_teachers(
    sources: dict[str, Source],
    checkpoint: Callable[..., Path],
    student: Callable[..., TeacherModel],
    tmp_path: Path,
    kind: str,
    data: str,
    temperature: float,
) -> None:
    labels, split = LABELS[data], sources[data].split("train")
    teacher, pupil = load_teacher(str(checkpoint(kind, labels)), device="cpu"), student(labels, 0.1)
    teachers: dict[str, Any] = {"live": LiveTeacher(teacher, prepare(teacher.tokenizer, split, 20))}
    for codec in ("float32", "float16"):
        settings = DumpSettings(max_length=20, batch_tokens=150, codec=codec, shard_rows=25)
        dump(teacher, sources[data], "train", tmp_path / codec, settings)
        teachers[codec] = Cache.open(tmp_path / codec)
    goal = objective("kd", 0.9, temperature=temperature)
    mine, task = prepare(pupil.tokenizer, split, 48), Classification(len(labels), labels)
    places = permutation(len(split), 5, 0)[:32]
    batches = {name: Collator(mine, task, {name: one})(places) for name, one in teachers.items()}
    losses = {name: first_loss(pupil.model, goal, batch) for name, batch in batches.items()}
    np.testing.assert_allclose(losses["float32"], losses["live"], rtol=1e-6, atol=1e-6)
    live = batches["live"].targets["live"].payload.logits
    bound = half_precision_bound(live / temperature, goal) + 1e-5
    assert ((losses["float16"] - losses["live"]).abs().numpy() <= bound).all()


def half_precision_bound(live: np.ndarray[Any, Any], goal: Objective) -> np.ndarray[Any, Any]:
    """What halves may move a loss: each gap g by 2^-11 g, so p by at most 2^-10 sum(p g) in all, each times at most the
    spread of the student's log-probabilities (under 12 for these students).
    """
    p = np.exp(live) / np.exp(live).sum(1, keepdims=True)
    return np.asarray(goal.alpha * goal.soft_factor * 2.0**-10 * (p * -live).sum(1) * 12)


def orders(n: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """What a student may do to its rows before it asks for them."""
    draw = np.random.default_rng(1)
    return {
        "shuffled": draw.permutation(n),
        "filtered": np.flatnonzero(draw.random(n) < 0.3),
        "repeated": draw.integers(0, n, 3 * n),
        "bucketed": np.concatenate(token_batches(draw.integers(1, 20, n), 60)),
    }


@pytest.mark.parametrize("how", ["shuffled", "filtered", "repeated", "bucketed"])
def test_a_row_keeps_its_teachers_answer(rows: Prepared, cache: Cache, how: str) -> None:
    answers = np.concatenate([block.logits.logits for block in cache])
    chosen = rows.select(orders(len(rows))[how])
    places = np.random.default_rng(2).integers(0, len(chosen), 50)
    batch = Collator(chosen, TASK, {"kd": cache})(places)
    wanted = orders(len(rows))[how][places]
    assert np.array_equal(batch.row_id, wanted)
    assert np.abs(batch.targets["kd"].payload.logits - answers[wanted]).max() == 0
    assert np.array_equal(batch.labels, rows.label[wanted])


def test_a_changed_word_is_met_at_the_first_batch(rows: Prepared, cache: Cache) -> None:
    changed = replace(rows, row_hash=np.where(rows.row_id == 17, 1, rows.row_hash))
    with pytest.raises(AlignmentError, match=r"kd: row 17: .*1 of 60 rows differ"):
        Collator(changed, TASK, {"kd": cache})(np.arange(60))


class Watch(TrainerCallback):
    """Keeps the gradient of every optimiser step."""

    def __init__(self) -> None:
        self.gradients: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parameters = [p.grad.reshape(-1).clone() for p in kwargs["model"].parameters() if p.grad is not None]
        self.gradients.append(torch.cat(parameters))


def trained(
    model: Any, collator: Any, settings: FitSettings, folder: Path, *callbacks: TrainerCallback, goal: str = "kd"
) -> DistillTrainer:
    """A few steps of plain SGD, so that equal gradients are equal weights."""
    args = arguments(settings, folder, evaluate=False)
    args.optim = "sgd"  # type: ignore[assignment]
    trainer = DistillTrainer(
        Distiller(model, objective(goal)),
        collator,
        group_by_length=settings.group_by_length,
        args=args,
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("n", [24, 22, 17])
@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_micro_batches_give_the_gradient_of_the_batch(
    rows: Prepared, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path, n: int, accumulate: int
) -> None:
    """Also where the last batch is a partial one: 22 and 17 rows in batches of 8."""
    collator = Collator(rows.select(np.arange(n)), TASK, {"kd": cache})
    seen = {}
    for cuts in (1, accumulate):
        watch, model = Watch(), student().model
        trainer = trained(model, collator, replace(SETTINGS, accumulate=cuts), tmp_path / str(cuts), watch)
        assert trainer.state.global_step == len(watch.gradients) == 2 * -(-n // 8)
        seen[cuts] = (torch.stack(watch.gradients), model.state_dict())
    np.testing.assert_allclose(seen[1][0], seen[accumulate][0], atol=2e-6)
    for name, weights in seen[1][1].items():
        np.testing.assert_allclose(weights, seen[accumulate][1][name], atol=2e-6)


def test_the_gradient_is_that_of_the_mean_loss(
    rows: Prepared, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    collator, watch = Collator(rows.select(np.arange(8)), TASK, {"kd": cache}), Watch()
    trained(student().model, collator, replace(SETTINGS, epochs=1.0), tmp_path, watch)
    model, batch = student().model, collator(np.arange(8)).map(torch.from_numpy)
    logits = model(**batch.inputs).logits
    objective("kd").loss(logits, batch.labels, batch.targets["kd"].payload.logits).mean().backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    expected *= min(1.0, 1 / (expected.norm().item() + 1e-6))  # Trainer clips the norm to 1
    np.testing.assert_allclose(watch.gradients[0], expected, atol=2e-6)


def test_rows_of_weight_zero_add_nothing(
    rows: Prepared, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    collator = Collator(rows, TASK, {"kd": cache})
    trainer = DistillTrainer(
        Distiller(student().model, objective("kd")), collator, args=arguments(SETTINGS, tmp_path, evaluate=False)
    )

    def gradient(batch: Batch[Any]) -> torch.Tensor:
        sample = to_torch(batch)
        trainer.model.zero_grad()
        count = trainer._get_num_items_in_batch([sample], torch.device("cpu"))
        trainer.compute_loss(trainer.model.train(), sample, num_items_in_batch=count).backward()
        return torch.cat([p.grad.reshape(-1) for p in trainer.model.parameters() if p.grad is not None])

    some, all_of_them = collator(np.arange(5)), collator(np.arange(9))
    weight = np.array([1] * 5 + [0] * 4, np.float32)
    labels = np.where(weight > 0, all_of_them.labels, 1 - all_of_them.labels)
    np.testing.assert_allclose(gradient(replace(all_of_them, weight=weight, labels=labels)), gradient(some), atol=1e-6)


def test_a_checkpoint_holds_the_plain_student(
    rows: Prepared, cache: Cache, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    model = student(dropout=0.1).model
    trained(model, Collator(rows, TASK, {"kd": cache}), SETTINGS, tmp_path)
    (folder,) = tmp_path.glob("checkpoint-*")
    with quiet():
        loaded, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert set(loaded.state_dict()) == set(model.state_dict())
    assert all(torch.equal(weights, loaded.state_dict()[name]) for name, weights in model.state_dict().items())


class Spy:
    """A collator that keeps the row_ids it was asked for."""

    def __init__(self, collator: Collator) -> None:
        self.collator, self.rows, self.seen = collator, collator.rows, []

    def __call__(self, places: Any) -> Any:
        batch = self.collator(places)
        self.seen.append(batch.row_id)  # type: ignore[attr-defined]
        return batch


def test_each_epoch_has_its_own_permutation(
    rows: Prepared, student: Callable[..., TeacherModel], tmp_path: Path
) -> None:
    spy = Spy(Collator(rows, TASK))
    trained(student().model, spy, replace(SETTINGS, epochs=3.0, seed=7), tmp_path, goal="base")
    expected = np.concatenate([permutation(60, 7, epoch) for epoch in range(3)])
    assert np.array_equal(np.concatenate(spy.seen), expected)
    assert [len(ids) for ids in spy.seen] == [8, 8, 8, 8, 8, 8, 8, 4] * 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_grouped_batches_are_of_like_length(
    rows: Prepared, student: Callable[..., TeacherModel], tmp_path: Path, accumulate: int
) -> None:
    spy = Spy(Collator(rows, TASK))
    settings = replace(SETTINGS, epochs=2.0, accumulate=accumulate, group_by_length=True)
    trained(student().model, spy, settings, tmp_path, goal="base")
    ids, lengths = np.concatenate(spy.seen), rows.ids.lengths()
    expected = [grouped_permutation(lengths, 8, 0, epoch) for epoch in range(2)]
    assert np.array_equal(ids, np.concatenate(expected))
    assert [sorted(epoch.tolist()) for epoch in expected] == [list(range(60))] * 2
    spread = [np.ptp(lengths[epoch[i : i + 8]]) for epoch in expected for i in range(0, 60, 8)]
    assert np.mean(spread) < np.ptp(lengths) / 3


def test_the_sampler_is_the_pure_permutation() -> None:
    sampler = EpochOrder(10, lambda epoch: permutation(10, 3, epoch))
    assert list(sampler) == permutation(10, 3, 0).tolist()
    sampler.set_epoch(4)
    assert len(sampler) == 10
    assert list(sampler) == list(sampler) == permutation(10, 3, 4).tolist()


def test_places_are_themselves() -> None:
    places = Places(5)
    assert (len(places), places[3]) == (5, 3)
    assert places.__getitems__([4, 0]).tolist() == [4, 0]


def test_evaluation_computes_no_loss_and_no_gradient(rows: Prepared, student: Callable[..., TeacherModel]) -> None:
    batch = Collator(rows, TASK)(np.arange(4)).map(torch.from_numpy)
    model = student().model
    summed, logits = Distiller(model, objective("base")).eval()(batch)
    assert summed == 0
    assert torch.equal(logits, model(**batch.inputs).logits)


def test_logging_goes_where_it_can() -> None:
    check_report("none")
    with pytest.raises(SpecError, match=r"--report-to: .*none.* found 'paper'"):
        check_report("paper")
