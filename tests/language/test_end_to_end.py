"""Language models from text to verdict: dump, every method, compare, verify, repair, resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.api import compare, dump, repair, train, verify_live
from logitcache.cache.cache import Cache
from logitcache.cache.rows import stored_rows, stored_source
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.table import TASKS
from logitcache.reporter import Notes
from tests.shortly import fast

METHODS = ("base", "ls", "tf-reg", "self-kd", "kd")
TASK_OF = {"gpt2": "causal-lm", "bert": "masked-lm"}


# pre-training of a masked model, dumped and compared: test_pretrain
@pytest.fixture(scope="module", params=fast(["gpt2", "bert"], "gpt2"))
def world(
    request: Any, lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A dump of both splits, and a run of every method."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    notes: list[str] = []
    named = {"task": TASK_OF[kind], "workspace": folder, "reporter": Notes(notes.append)}
    views = {"views": 2} if kind == "bert" else {}
    teacher = lm(kind, filling=5)
    report = dump(
        str(teacher), str(texts), seq_len=24, device="cpu", shard_rows=16, **views, **named
    )
    student = str(lm(kind, config_only=True))
    runs = {
        method: train(
            method, str(texts), student=student, init="random", epochs=2, batch_size=8, **named
        )
        for method in METHODS
    }
    return {
        "kind": kind,
        "report": report,
        "teacher": teacher,
        "runs": runs,
        "notes": notes,
        **named,
    }


def test_a_dump_says_what_it_did(world: dict[str, Any]) -> None:
    report = world["report"]
    cache = Cache.open(report.cache)
    (dev,) = report.held_out
    assert cache.manifest.plan.task == world["task"]
    assert cache.holds_rows
    assert report.positions == (stored_rows(cache).tokens["labels"].values >= 0).sum()
    assert report.scores["perplexity"] == pytest.approx(np.exp(report.scores["nll"]))
    assert Cache.open(dev.cache).manifest.plan.data["split"] == "dev"
    assert any("and 5 columns of its head that are none" in note for note in world["notes"])


def test_what_is_cached_is_what_the_model_says_by_hand(world: dict[str, Any]) -> None:
    auto = (
        transformers.AutoModelForCausalLM
        if world["kind"] == "gpt2"
        else transformers.AutoModelForMaskedLM
    )
    model = auto.from_pretrained(world["teacher"]).eval()
    cache = Cache.open(world["report"].cache)
    rows = cache.tokens(np.arange(len(cache)))
    for row in range(6):
        part = slice(rows["labels"].indptr[row], rows["labels"].indptr[row + 1])
        ids, labels = rows["input_ids"].values[part], rows["labels"].values[part]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(ids)[None].long()).logits[0].numpy()
        answers = cache.take(np.array([row]))
        assert answers.index.tolist() == np.flatnonzero(labels >= 0).tolist()
        assert cache.labels(np.array([row])).tolist() == labels[labels >= 0].tolist()
        own = logits[answers.index, : cache.codec.width]
        np.testing.assert_allclose(
            answers.logits, own - own.max(1, keepdims=True), atol=2e-2, rtol=2e-3
        )


def test_every_method_reads_the_very_same_rows(world: dict[str, Any]) -> None:
    """Inputs, positions and labels of a batch are the bytes of the cache, for base as for kd."""
    results = {
        method: json.loads((run / "result.json").read_text())
        for method, run in world["runs"].items()
    }
    fingerprint = Cache.open(world["report"].cache).fingerprint
    learnt_from = {method: result["config"]["cache"] for method, result in results.items()}
    assert learnt_from.pop("self-kd") != fingerprint  # its own earlier answers, to the same rows
    assert set(learnt_from.values()) == {fingerprint}
    assert len({result["data"]["digest"] for result in results.values()}) == 1
    cache = Cache.open(world["report"].cache)
    source = stored_source({"train": cache})
    task = TASKS[source.task](source.num_labels, None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(world["teacher"])
    examples = prepare(tokenizer, source.split("train"), 64)
    places = np.arange(len(cache))[::-1]
    base = Collator(examples, task)(places)
    kd = Collator(examples, task, {"teacher": cache})(places)
    for one, other in (
        (base.inputs["input_ids"], kd.inputs["input_ids"]),
        (base.where, kd.where),
        (base.label, kd.label),
    ):
        assert one.tobytes() == other.tobytes()
    assert base.weight.tobytes() == kd.weight.tobytes()


def test_students_are_scored_on_the_dev_text(world: dict[str, Any]) -> None:
    # a row under two masks is one
    rows = world["report"].rows // (2 if world["kind"] == "bert" else 1)
    for run in world["runs"].values():
        result = json.loads((run / "result.json").read_text())
        assert result["data"]["train_rows"] == rows
        assert result["rows_seen"] == 2 * rows
        assert result["steps"] == 2 * -(-rows // 8)
        assert {"nll", "perplexity", "token_accuracy", "ece", "agreement", "kl"} <= set(
            result["metrics"]["dev"]
        )
        assert result["metric"] == "nll"
        assert result["fidelity"] is not None
        assert result["label_names"] is None
    told = compare(world["workspace"] / "runs")
    assert {row.method for row in told.rows} == set(METHODS)
    assert {row.metric for row in told.rows} == {"nll"}
    assert all(row.difference is None or row.difference.interval is not None for row in told.rows)


def test_a_run_that_is_there_is_not_trained_again(
    world: dict[str, Any], texts: Path, lm: Callable[..., Path]
) -> None:
    before = (world["runs"]["kd"] / "result.json").stat().st_mtime_ns
    student = str(lm(world["kind"], config_only=True))
    settings = {"task": world["task"], "workspace": world["workspace"]}
    again = train(
        "kd", str(texts), student=student, init="random", epochs=2, batch_size=8, **settings
    )
    assert again == world["runs"]["kd"]
    assert (again / "result.json").stat().st_mtime_ns == before


def test_a_cache_needs_no_data(
    world: dict[str, Any], lm: Callable[..., Path], tmp_path: Path
) -> None:
    """The caches of the other splits are found beside it; a shape takes the tokenizer that the dump
    left.
    """
    settings = {"task": world["task"], "workspace": world["workspace"]}
    out = train(
        "base",
        cache=world["report"].cache,
        student="1x32",
        epochs=1,
        out=tmp_path / "run",
        **settings,
    )
    assert set(json.loads((out / "result.json").read_text())["metrics"]) == {"train", "dev"}
    transformers.AutoConfig.from_pretrained(out)


def test_the_teacher_says_it_again_and_a_broken_shard_is_made_again(
    world: dict[str, Any], texts: Path
) -> None:
    folder = world["report"].cache
    told = verify_live(folder, 5, str(world["teacher"]), str(texts), workspace=world["workspace"])
    assert (told.rows, told.same_bytes, told.agrees) == (5, 5, True)
    assert Cache.open(folder).verify() == []
    broken = sorted((folder / "shards").glob("00001.*arrow"))[0]
    before = broken.read_bytes()
    broken.write_bytes(before[: len(before) // 2])
    mended = repair(folder, str(world["teacher"]), str(texts), workspace=world["workspace"])
    assert mended.repaired == [1]
    assert broken.read_bytes() == before


def test_a_step_does_not_depend_on_how_it_is_cut(
    world: dict[str, Any], texts: Path, lm: Callable[..., Path], tmp_path: Path
) -> None:
    """Rows have unequal numbers of learnt tokens: a mean of means would be another gradient."""
    if world["kind"] == "bert":
        pytest.skip("one model is enough")
    weights = []
    for accumulate in (1, 4):
        settings = {
            "task": world["task"],
            "workspace": world["workspace"],
            "out": tmp_path / str(accumulate),
        }
        student = str(lm("llama", config_only=True))  # without dropout
        out = train(
            "kd",
            str(texts),
            student=student,
            init="random",
            epochs=1,
            accumulate=accumulate,
            **settings,
        )
        weights.append(transformers.AutoModelForCausalLM.from_pretrained(out).state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=2e-5, rtol=1e-4)


def test_a_row_that_has_no_answer_is_left_out_under_every_mask(
    lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(lm("bert"))
    with torch.no_grad():
        # longer rows have no answer
        model.bert.embeddings.position_embeddings.weight[11] = torch.nan
    teacher = tmp_path / "teacher"
    model.save_pretrained(teacher)
    transformers.AutoTokenizer.from_pretrained(lm("bert")).save_pretrained(teacher)
    named = {"task": "masked-lm", "workspace": tmp_path, "seq_len": 24}
    report = dump(
        str(teacher), str(texts), device="cpu", pack=False, views=2, on_nonfinite="skip", **named
    )
    assert 0 < report.skipped_rows < report.rows
    student = {"student": str(lm("bert", config_only=True)), "init": "random", "epochs": 2}
    rows = set()
    for method in ("base", "kd"):
        out = train(method, str(texts), **student, **named)
        rows.add(json.loads((out / "result.json").read_text())["data"]["train_rows"])
    (count,) = rows  # the same for both
    assert 0 < 2 * count <= report.rows - report.skipped_rows


def test_a_shape_teaches_itself_without_any_dump(texts: Path, tmp_path: Path) -> None:
    """Its vocabulary is learnt from the documents once; the first copy has the same."""
    named: dict[str, Any] = {
        "task": "causal-lm",
        "student": "1x16",
        "epochs": 1,
        "seq_len": 24,
        "vocabulary": 100,
    }
    run = train("self-kd", str(texts), workspace=tmp_path / "work", out=tmp_path / "run", **named)
    result = json.loads((run / "result.json").read_text())
    assert {"train", "dev"} <= set(result["metrics"])
    assert (
        train("self-kd", str(texts), workspace=tmp_path / "work", out=tmp_path / "run", **named)
        == run
    )
