"""Sparse targets of language models, from dump to student; the loss in every execution."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

from logitcache.api import dump, repair, train
from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert
from logitcache.cache.rows import stored_source
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.table import TASKS
from logitcache.errors import AlignmentError, CorruptShard, SpecError
from logitcache.models.projection import full_logits
from logitcache.payloads import Dense, Sparse
from logitcache.records import Batch
from logitcache.stages.stored import _dump_of
from logitcache.student.distiller import Distiller
from logitcache.student.losses.vocabulary import FUSED, PLAIN
from logitcache.student.methods import objective
from logitcache.teacher.recode import recode
from logitcache_cli.main import cli
from tests.fake_caches import tree
from tests.language.small_lms import CODECS, TASK_OF, make_tokenizer
from tests.shortly import fast

BIASED = ("topk:k=4", "topk:k=4,tail=unigram")


def batch_of(cache: Cache, tokenizer: Any) -> tuple[Batch[torch.Tensor], Any]:
    source = stored_source({"train": cache})
    rows = source.split("train")
    task = TASKS[source.task](cache.codec.width, None)
    collator = Collator(prepare(tokenizer, rows, 24), task, {"cache": cache})
    return collator(np.arange(6)).map(torch.from_numpy), collator


def test_the_first_loss_is_the_same_from_every_exact_codec_and_in_every_execution(
    dumps: dict[str, Any], lm: Callable[..., Path]
) -> None:
    kind = dumps["kind"]
    folder = lm(kind)
    auto = (
        transformers.AutoModelForCausalLM if kind == "gpt2" else transformers.AutoModelForMaskedLM
    )
    torch.manual_seed(1)
    student = auto.from_config(transformers.AutoConfig.from_pretrained(folder)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    losses = {}
    for codec, cache in dumps["caches"].items():
        batch, collator = batch_of(cache, tokenizer)
        for execution in (PLAIN, FUSED):
            distiller = Distiller(
                student, objective("kd"), collator.rows.padding, per_token=True, width=cache.codec.width,
                execution=execution,
            )  # fmt: skip
            distiller.train()
            torch.nn.Module.eval(student)
            distiller.training = True
            summed, _ = distiller(batch)
            (gradient,) = torch.autograd.grad(summed, student.get_output_embeddings().weight)
            losses[codec, execution] = (summed.item(), gradient)
    exact = losses["float32", PLAIN]
    by_hand = _by_hand(student, batch_of(dumps["caches"]["float32"], tokenizer)[0])
    assert exact[0] == pytest.approx(by_hand, rel=1e-5)
    for (codec, execution), (loss, gradient) in losses.items():
        torch.testing.assert_close(gradient, losses[codec, PLAIN][1], rtol=1e-4, atol=1e-4)
        if codec not in (*CODECS, *BIASED):
            assert loss == pytest.approx(exact[0], rel=1e-3), (codec, execution)
            torch.testing.assert_close(gradient, exact[1], rtol=1e-2, atol=1e-2)


def _by_hand(student: Any, batch: Batch[torch.Tensor]) -> float:
    """Half the labels' loss, half the teacher's, of the model called as anybody would."""
    teacher = batch.teacher
    assert isinstance(teacher, Dense)
    logits = student(**batch.inputs).logits[
        batch.where[:, 0], batch.where[:, 1], : teacher.logits.shape[1]
    ]
    log_q = logits.log_softmax(1)
    soft = -(teacher.logits.softmax(1) * log_q).sum()
    hard = torch.nn.functional.nll_loss(log_q, batch.label, reduction="sum")
    return (0.5 * hard + 0.5 * soft).item()


def test_targets_are_estimates_of_the_teacher(dumps: dict[str, Any]) -> None:
    caches = dumps["caches"]
    rows = np.arange(len(caches["float32"]))
    logits = torch.from_numpy(caches["float32"].take(rows).logits)
    p = logits.softmax(1).numpy()
    for codec in [name for name in caches if name not in ("float32", "replay")]:
        target = caches[codec].take(rows).payload
        assert isinstance(target, Sparse)
        estimate = np.zeros_like(p)
        np.add.at(estimate, (np.arange(len(p))[:, None], target.ids), target.prob)
        if codec not in BIASED:  # top-k without its tail is no estimate
            assert abs(estimate.mean(0) - p.mean(0)).max() < 0.02
        announced = caches[codec].codec.bytes_per_position()
        stored = sum(column.nbytes for column in caches[codec].stored(rows).values()) / len(p)
        assert stored == pytest.approx(announced, rel=0.03)


@pytest.mark.parametrize("codec", [*CODECS, "topk:k=4,tail=unigram"])
def test_one_replay_cache_serves_every_codec(
    dumps: dict[str, Any], codec: str, tmp_path: Path
) -> None:
    dumped = dumps["caches"][codec]
    recode(dumps["caches"]["replay"].folder, tmp_path / "recoded", codec)
    recoded = Cache.open(tmp_path / "recoded")
    rows = np.arange(len(dumped))
    assert _dump_of(dumped) == _dump_of(recoded)
    expected, found = (cache.take(rows).payload for cache in (dumped, recoded))
    assert (expected.ids == found.ids).all(axis=1).mean() > 0.98
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-4)
    assert recoded.tokens(rows).keys() == dumped.tokens(rows).keys()
    np.testing.assert_array_equal(
        recoded.tokens(rows)["labels"].values, dumped.tokens(rows)["labels"].values
    )
    for number in (1, -1):  # of one row
        one, same = dumped.tokens(number), dumped.tokens(rows[[number]])
        assert all((one[name].values == same[name].values).all() for name in same)
    with pytest.raises(AlignmentError):
        dumped.tokens(len(dumped))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 20.0])
def test_replayed_logits_are_the_teachers(
    dumps: dict[str, Any], temperature: float, tmp_path: Path
) -> None:
    cache, dense = dumps["caches"]["replay"], dumps["caches"]["float32"]
    rows = np.array([3, 0, 7])
    exact = torch.from_numpy(dense.take(rows).logits)
    np.testing.assert_allclose(cache.take(rows).logits, exact.numpy(), atol=1e-5)
    payload = cache.take(rows).payload.map(torch.from_numpy)
    replayed = full_logits(payload)
    torch.testing.assert_close(
        (replayed / temperature).softmax(1), (exact / temperature).softmax(1)
    )
    assert cache.codec.bytes_per_position() == 32 * 4
    assert not cache.verify()


@pytest.mark.parametrize(("limit", "kind"), [(16, "varopt"), (128, "replay")])
def test_a_codec_is_chosen_for_a_number_of_bytes(
    lm: Callable[..., Path], texts: Path, tmp_path: Path, limit: int, kind: str
) -> None:
    notes: list[str] = []
    report = dump(
        str(lm("gpt2")), str(texts), task="causal-lm", seq_len=24, device="cpu", codec=f"auto:bytes={limit}",
        workspace=tmp_path, notify=notes.append,
    )  # fmt: skip
    recorded = Cache.open(report.cache).manifest.plan.targets["logits"]
    assert recorded["kind"] == kind
    assert any(f"--codec auto:bytes={limit} is " in note for note in notes)
    receipt = next(iter(sorted((report.cache / "shards").glob("0*.json"))))
    receipt.with_name(json.loads(receipt.read_text())["files"][0]["name"]).unlink()
    repaired = repair(
        report.cache, str(lm("gpt2")), str(texts), device="cpu", notify=lambda line: None
    )
    assert repaired.repaired == [0]
    assert not Cache.open(report.cache).verify()
    tensors = report.cache / "shards" / "tensors.safetensors"
    if kind == "replay":
        tensors.unlink()
        again = repair(
            report.cache, str(lm("gpt2")), str(texts), device="cpu", notify=lambda line: None
        )
        assert (again.mended, again.teacher_rows) == (["shards/tensors.safetensors"], 0)
        assert not Cache.open(report.cache).verify()


def test_a_large_shard_that_is_made_again_has_the_bytes_of_the_dump(
    lm: Callable[..., Path], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its receipt too, whose quantiles are of some positions: a repair looked at all of them."""
    monkeypatch.setattr("logitcache.teacher.summary.WHOLE", 8)
    teacher, data = str(lm("gpt2")), str(texts)
    named: dict[str, Any] = {"device": "cpu", "notify": lambda line: None}
    cache = dump(
        teacher, data, task="causal-lm", seq_len=24, shard_rows=16, codec="float16", workspace=tmp_path, **named,
    ).cache  # fmt: skip
    written = tree(cache)
    for name in ("00000.json", "00000.arrow"):
        (cache / "shards" / name).unlink()
    (cache / "manifest.json").unlink()
    assert repair(cache, teacher, data, **named).repaired == [0]
    assert tree(cache) == written


def test_a_model_that_does_more_than_its_head_is_kept_and_taught_by_its_own_logits(
    texts: Path, tmp_path: Path
) -> None:
    """MPT's configuration names a scale that its code does not apply."""
    folder, tokenizer = tmp_path / "mpt", make_tokenizer()
    shape: Any = {"d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 64, "logit_scale": 0.5}
    config: Any = transformers.AutoConfig.for_model(
        "mpt", vocab_size=len(tokenizer), pad_token_id=0, **shape
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    notes: list[str] = []
    named: Any = {"task": "causal-lm", "seq_len": 24, "workspace": tmp_path, "notify": notes.append}
    report = dump(str(folder), str(texts), device="cpu", codec="auto:bytes=80", **named)
    assert Cache.open(report.cache).manifest.plan.targets["logits"]["kind"] == "varopt"
    run = train("kd", str(texts), student=str(folder), epochs=1, batch_size=16, **named)
    assert any("its own logits are computed in full" in note for note in notes)
    assert json.loads((run / "result.json").read_text())["metrics"]["train"]["agreement"] > 0.5


@pytest.mark.parametrize("codec", ["varopt:mean=3", "sampled:n=5", "auto:bytes=16"])
def test_the_splits_of_a_dump_share_a_codec_and_are_told_by_its_settings(
    lm: Callable[..., Path], texts: Path, tmp_path: Path, codec: str
) -> None:
    """Else a student would have no dev split."""
    folder = flat(lm("gpt2"), tmp_path / "teacher")
    named: Any = {
        "task": "causal-lm",
        "seq_len": 24,
        "workspace": tmp_path,
        "notify": lambda line: None,
    }
    report = dump(str(folder), str(texts), device="cpu", codec=codec, **named)
    train_cache, dev = Cache.open(report.cache), Cache.open(report.held_out[0].cache)
    assert train_cache.codec == dev.codec
    plan = dev.manifest.plan
    recorded = dict(plan.targets["logits"])
    recorded.update(
        {name: recorded[name] + 0.1 for name in ("c", "values", "distinct") if name in recorded}
    )
    padding = {"side": "left"}
    other = replace(
        plan, targets={"logits": recorded}, preparation={**plan.preparation, "padding": padding}
    )
    apart = SimpleNamespace(manifest=SimpleNamespace(plan=other))
    assert _dump_of(apart) == _dump_of(train_cache)  # type: ignore[arg-type]
    if codec.startswith("varopt"):
        run = train("kd", str(texts), student=str(folder), epochs=1, batch_size=16, **named)
        assert "dev" in json.loads((run / "result.json").read_text())["metrics"]


def flat(folder: Path, out: Path) -> Path:
    """The same model, less sure of its answers: how many words are drawn differs from split to
    split.
    """
    shutil.copytree(folder, out)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(out)
    model.get_output_embeddings().weight.data.mul_(0.1)
    model.save_pretrained(out)
    return out


def test_the_head_is_kept_once_and_watched(dumps: dict[str, Any], tmp_path: Path) -> None:
    cache = dumps["caches"]["replay"]
    moved = Path(shutil.copytree(cache.folder, tmp_path / "moved"))
    file = moved / "shards" / "tensors.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    damaged = Cache.open(moved)
    with pytest.raises(CorruptShard, match="tensors"):
        damaged.take(np.array([0]))
    assert [fault.file for fault in damaged.verify()] == ["shards/tensors.safetensors"]
    file.unlink()
    with pytest.raises(CorruptShard):
        Cache.open(moved)
    convert(cache.folder, tmp_path / "zarr", "zarr")
    again = Cache.open(tmp_path / "zarr")
    np.testing.assert_array_equal(
        again.take(np.array([5])).logits, cache.take(np.array([5])).logits
    )


def test_a_student_learns_from_few_words(
    dumps: dict[str, Any], lm: Callable[..., Path], texts: Path
) -> None:
    kind = dumps["kind"]
    named = {
        "student": str(lm(kind, config_only=True)),
        "init": "random",
        "epochs": 1,
        "batch_size": 8,
    }
    named |= {
        "task": TASK_OF[kind],
        "workspace": dumps["folder"] / "3",
        "notify": lambda line: None,
    }
    notes: list[str] = []
    run = train("kd", str(texts), **{**named, "loss_execution": "fused", "notify": notes.append})
    assert "loss of the vocabulary: fused" in notes
    scores = json.loads((run / "result.json").read_text())["metrics"]["train"]
    assert {"nll", "agreement", "kl"} <= set(scores)
    with pytest.raises(SpecError, match=r"made for \(1\), found 2"):
        train("kd", str(texts), temperature=2.0, out=dumps["folder"] / "hot", **named)


@pytest.mark.parametrize("codec", ["varopt:mean=4", "replay"])
def test_people_can_read_a_dump_and_its_rows(
    codec: str, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    words = [
        "dump",
        "--task",
        "causal-lm",
        "--teacher",
        str(lm("gpt2")),
        "--data",
        str(texts),
        "--seq-len",
        "24",
    ]
    words += [
        "--codec",
        codec,
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "cache"),
        "--workspace",
        str(tmp_path / "w"),
    ]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    is_scored = "% of the tokens of these rows; calibration error" in done.stdout
    assert is_scored is (codec == "replay")  # drawn words do not tell the likeliest
    assert ("perplexity" in done.stdout) == (codec == "replay")
    shown = CliRunner().invoke(cli, ["inspect", str(tmp_path / "cache"), "--row", "0"])
    assert shown.exit_code == 0, shown.output
    assert "; answer " in shown.stdout
    assert "positions more (--json lists all)" in shown.stdout


@pytest.mark.parametrize("kind", fast(TASK_OF, "bert"))
def test_the_command_measures_codecs(
    kind: str, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    asked = [
        "codecs",
        "--task",
        TASK_OF[kind],
        "--teacher",
        str(lm(kind)),
        "--data",
        str(texts),
        "--seq-len",
        "24",
    ]
    asked += ["--positions", "150", "--workspace", str(tmp_path), "--device", "cpu", "--json"]
    codecs = [word for codec in ("topk:k=8,tail=unigram", *CODECS) for word in ("--codec", codec)]
    picture = tmp_path / "codecs.svg"
    done = CliRunner().invoke(cli, [*asked, *codecs, "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"<?xml")
    cases = {case["name"]: case for case in json.loads(done.stdout)["cases"]}
    assert set(cases) == {"topk:k=8,tail=unigram", *CODECS}
    unbiased = [cases["sampled:n=8"], cases["varopt:mean=4"]]
    for case in unbiased:
        assert case["squared_error"] == pytest.approx(case["variance"], rel=0.3)
        assert case["bias"] == 0
    assert cases["topk:k=4"]["bias"] > 0
    for case in cases.values():
        assert 0 < case["step_seconds"] < 1  # of one position
        assert case["step_ratio"] > 0
    thirds = cases["topk:k=4"]["by_entropy"]
    assert len(thirds) == 3
    assert thirds[0]["high"] <= thirds[1]["low"] <= thirds[1]["high"] <= thirds[2]["low"]
    assert all(third["gradient_error"] > 0 for third in thirds)
    nowhere = CliRunner().invoke(cli, [*asked, "--plot", str(tmp_path / "codecs.gif")])
    assert nowhere.exit_code == 2
    assert "expected a picture ending in .png or .svg" in nowhere.output
    refused = CliRunner().invoke(cli, [*asked, "--codec", "replay"])
    assert refused.exit_code == 2
    assert "--codec replay: expected a codec of a teacher's answers" in refused.output
    within = CliRunner().invoke(cli, [*asked, "--bytes-per-token", "16"])
    document = json.loads(within.stdout)
    assert all(case["announced"] <= 16 for case in document["cases"])
    assert document["best"] == document["cases"][0]["name"]
    assert CliRunner().invoke(cli, [*asked, "--bytes-per-token", "2"]).exit_code == 2
    assert not (tmp_path / "caches").exists()
