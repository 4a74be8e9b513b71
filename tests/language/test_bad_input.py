"""What cannot be: one line each, naming what is wrong and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.api import dump, load, train
from logitcache.cache.cache import Cache
from logitcache.config.option import Declared, options_of
from logitcache.config.sequences import Sequences
from logitcache.data.tasks.table import TASKS
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError
from logitcache.payloads import Sparse
from logitcache.reporter import Notes
from logitcache.stages.stored import check_sequences
from tests.language.small_lms import make_config, make_tokenizer

Lm = Callable[..., Path]


@pytest.fixture(scope="module")
def world(lm: Lm, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A dump of a GPT-2."""
    folder = tmp_path_factory.mktemp("bad")
    report = dump(
        str(lm("gpt2")), str(texts), task="causal-lm", seq_len=24, device="cpu", workspace=folder
    )
    return {"report": report, "workspace": folder, "cache": report.cache}


def run(world: dict[str, Any], texts: Path, **how: Any) -> Path:
    settings = {
        "task": "causal-lm",
        "workspace": world["workspace"],
        "epochs": 1,
        "init": "random",
        **how,
    }
    return train(settings.pop("method", "kd"), str(texts), **settings)


def student(folder: Path, tokenizer: Any, **how: Any) -> str:
    make_config("gpt2", tokenizer, **how).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def with_tokens(change: Callable[[dict[str, int]], dict[str, int]]) -> Any:
    """The tokenizer with another map."""
    from tokenizers import models

    tokenizer = make_tokenizer()
    changed = change(dict(tokenizer.get_vocab()))
    tokenizer.backend_tokenizer.model = models.WordLevel(changed, unk_token="<unk>")
    return tokenizer


def swapped(vocabulary: dict[str, int]) -> dict[str, int]:
    return {**vocabulary, "w1": vocabulary["w2"], "w2": vocabulary["w1"]}


def test_a_student_of_other_tokens_is_refused_by_the_first_that_differs(
    world: dict[str, Any], texts: Path, tmp_path: Path
) -> None:
    number = make_tokenizer().get_vocab()["w1"]
    with pytest.raises(
        FingerprintMismatch, match=f"token {number} is 'w2', in the cache 'w1'. Give --tokenizer"
    ):
        run(world, texts, student=student(tmp_path / "s", with_tokens(swapped)))


def test_the_advice_works(world: dict[str, Any], texts: Path, tmp_path: Path, lm: Lm) -> None:
    other = student(tmp_path / "s", with_tokens(swapped))
    out = run(world, texts, student=other, tokenizer=str(lm("gpt2")), out=tmp_path / "run")
    assert (out / "result.json").is_file()


def test_more_tokens_behind_those_of_the_cache_are_said(
    world: dict[str, Any], texts: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    more = with_tokens(
        lambda vocabulary: {**vocabulary, "x1": len(vocabulary), "x2": len(vocabulary) + 1}
    )
    out = run(
        world,
        texts,
        student=student(tmp_path / "s", more),
        out=tmp_path / "run",
        reporter=Notes(notes.append),
    )
    assert any("2 tokens more than the cache's" in note for note in notes)
    assert json.loads((out / "result.json").read_text())["metrics"]["dev"]["agreement"] >= 0


OTHERWISE = {
    "pack": (
        False,
        "--no-pack: expected a cache that was dumped with it, found one .* dump with --no-pack.",
    ),
    "keep_documents": (
        True,
        "--keep-documents: expected a cache .* or dump with --keep-documents.",
    ),
    "supervise": (
        "all",
        "--supervise: expected its default, .* found all. Leave it out, or dump with --supervise all.",
    ),
    "views": (
        2,
        "--views: expected 1, which the cache's rows were made with, found 2. .* dump with --views 2.",
    ),
    "mask_rate": (
        0.3,
        "--mask-rate: expected 0.15, .* found 0.3. Leave it out, or dump with --mask-rate 0.3.",
    ),
    "whole_words": (True, "--whole-words: expected a cache"),
    "mask_seed": (7, "--mask-seed: expected 0, .* found 7"),
    "seq_len": (48, "--seq-len: expected 24, .* found 48"),
}


@pytest.mark.parametrize("declared", options_of(Sequences), ids=lambda declared: declared.name)
def test_rows_made_otherwise_than_those_of_the_cache_are_refused(declared: Declared) -> None:
    recorded = asdict(Sequences(seq_len=24).recipe())
    value, message = OTHERWISE[declared.name]
    asked = Sequences(**{declared.name: value})
    with pytest.raises(SpecError, match=message):
        check_sequences(asked, recorded)
    made_so = recorded | asdict(asked.recipe()) | {"seq_len": asked.seq_len or 24}
    check_sequences(asked, made_so)
    check_sequences(Sequences(), made_so)
    if declared.name not in ("supervise", "seq_len"):  # a default that is typed is no silence
        usual = Sequences(**{declared.name: recorded[declared.name]})
        check_sequences(usual, recorded)
        with pytest.raises(SpecError, match=f"--(no-)?{declared.flag[2:]}: expected"):
            check_sequences(usual, made_so)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"mask_rate": 0.3},
            "--mask-rate: expected 0.15, which the cache's rows were made with, found 0.3",
        ),
        (
            {"seq_len": 48},
            "--seq-len: expected 24, which the cache's rows were made with, found 48. Leave it out, or dump",
        ),
        (
            {"student": "limit-16"},
            "expected rows of at most 16 tokens, which the model takes, found one of 24",
        ),
        ({"method": "kd", "label_map": {"a": "b"}}, "--label-map: expected classes with names"),
    ],
)
def test_a_run_that_cannot_be(
    how: dict[str, Any], message: str, world: dict[str, Any], texts: Path, tmp_path: Path
) -> None:
    folder = student(tmp_path / "s", make_tokenizer(), limit=16 if how.get("student") else 64)
    with pytest.raises(LogitCacheError, match=message):
        run(world, texts, **{**how, "student": folder})


def test_a_cache_of_another_task_is_refused(world: dict[str, Any], tmp_path: Path) -> None:
    """Though it would need no data at all."""
    message = "expected a cache of masked-lm, as --task says, found one of causal-lm. Give --task causal-lm"
    with pytest.raises(FingerprintMismatch, match=message):
        train(
            method="kd",
            task="masked-lm",
            cache=world["cache"],
            student="1x32",
            workspace=tmp_path,
        )


def test_rows_under_several_masks_are_all_taken_or_none(
    lm: Lm, texts: Path, tmp_path: Path
) -> None:
    named = {"task": "masked-lm", "workspace": tmp_path}
    dump(str(lm("bert")), str(texts), seq_len=24, views=2, device="cpu", **named)
    with pytest.raises(
        SpecError,
        match=r"all rows, where each is stored under several masks, found --rows or --folds",
    ):
        train("kd", str(texts), student=str(lm("bert")), rows=6, **named)


UNLABELLED = "--unlabelled: expected a task with labels, found causal-lm, .* put these texts among the training rows."


def test_unlabelled_texts_are_refused(texts: Path, tmp_path: Path) -> None:
    """A text is its own label."""
    named: dict[str, Any] = {"unlabelled": str(texts), "task": "causal-lm", "workspace": tmp_path}
    with pytest.raises(SpecError, match=UNLABELLED):
        dump("no-teacher", str(texts), **named)
    with pytest.raises(SpecError, match=UNLABELLED):
        train("kd", str(texts), **named)
    columns = {"text": ["w1 w2"] * 4}
    with pytest.raises(SpecError, match=UNLABELLED):
        load({"train": columns, "unlabelled": columns}, task="causal-lm", workspace=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_teacher_is_trained_on_rows_of_its_own_dump(lm: Lm, texts: Path, tmp_path: Path) -> None:
    """Whatever caches of these documents there are, and the same teacher when the dump is asked for
    again.
    """
    named: dict[str, Any] = {
        "task": "masked-lm",
        "seq_len": 24,
        "device": "cpu",
        "finetune_epochs": 1,
    }
    for rate in (0.15, 0.3, 0.15):
        named |= {"mask_rate": rate, "finetune": "always", "out": tmp_path / f"w/caches/{rate}"}
        report = dump(str(lm("bert")), str(texts), workspace=tmp_path / "w", **named)
        assert report.complete
    assert len(list((tmp_path / "w" / "teachers").iterdir())) == 2


def test_a_method_without_a_cache_says_how_to_make_one(texts: Path, tmp_path: Path) -> None:
    named: Any = {"task": "causal-lm", "student": "1x16", "workspace": tmp_path}
    for method, signals in (("kd", ""), ("minilm", " --signal attention-input:-1")):
        command = f"logitcache dump --task causal-lm{signals} --data DATA --teacher TEACHER"
        with pytest.raises(SpecError, match=f"Make one: {command}"):
            train(method, str(texts), **named)


def test_without_a_cache_a_method_without_a_teacher_makes_its_rows_itself(
    texts: Path, tmp_path: Path
) -> None:
    folder = student(tmp_path / "s", make_tokenizer())
    named = {
        "task": "causal-lm",
        "student": folder,
        "init": "random",
        "workspace": tmp_path,
        "epochs": 1,
    }
    out = train("base", str(texts), seq_len=24, **named)
    result = json.loads((out / "result.json").read_text())
    assert result["cache_fingerprint"] is None
    assert result["metrics"]["dev"]["nll"] > 0


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("float16", r"expected finite logits, found NaN or infinity in .* rows \(row 0"),
        (
            "varopt:mean=4",
            "--codec: expected finite answers to calibrate the codec with, found none",
        ),
        ("sampled:n=4", "--codec: expected finite answers to calibrate the codec with, found none"),
        (
            "auto:bytes=16",
            "--codec: expected finite answers to calibrate the codec with, found none",
        ),
    ],
)
def test_infinite_logits_are_refused(
    codec: str, message: str, lm: Lm, texts: Path, tmp_path: Path
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(lm("gpt2"))
    with torch.no_grad():
        model.transformer.wte.weight[9] = torch.inf
    model.save_pretrained(tmp_path / "t")
    make_tokenizer().save_pretrained(tmp_path / "t")
    with pytest.raises(SpecError, match=message):
        dump(
            str(tmp_path / "t"),
            str(texts),
            task="causal-lm",
            seq_len=24,
            codec=codec,
            device="cpu",
            workspace=tmp_path,
        )


def test_an_encoder_without_a_trained_head_is_no_teacher_of_tokens(
    lm: Lm, texts: Path, tmp_path: Path
) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(lm("bert"))
    model.base_model.save_pretrained(tmp_path / "body")
    transformers.AutoTokenizer.from_pretrained(lm("bert")).save_pretrained(tmp_path / "body")
    with pytest.raises(SpecError, match="expected a trained language-model head, found none"):
        dump(
            str(tmp_path / "body"),
            str(texts),
            task="masked-lm",
            finetune="never",
            workspace=tmp_path,
            device="cpu",
        )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": "hello"}, r"train\.jsonl line 1: expected a list of messages"),
        (
            {"messages": [{"role": "user", "content": "w1"}]},
            "row 0: expected an assistant message to learn",
        ),
        ({"prompt": "w1", "completion": ""}, "row 0: expected a completion with a token to learn"),
        (
            {"label": 1},
            "expected a column of texts, columns prompt and completion, or a column of messages",
        ),
    ],
)
def test_rows_that_teach_nothing(row: dict[str, Any], message: str, lm: Lm, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(LogitCacheError, match=message):
        dump(
            str(lm("gpt2")), str(tmp_path), task="causal-lm", device="cpu", workspace=tmp_path / "w"
        )


def test_padding_is_no_part_of_the_loss_and_labels_are_the_next_tokens(
    world: dict[str, Any],
) -> None:
    """Rows of a batch have as many positions as learnt tokens, whatever the longest has."""
    cache = Cache.open(world["cache"])
    answers = cache.take(np.arange(len(cache)))
    tokens = cache.tokens(np.arange(len(cache)))
    assert len(answers.index) == (tokens["labels"].values >= 0).sum()
    for row in range(len(cache)):
        part = slice(tokens["labels"].indptr[row], tokens["labels"].indptr[row + 1])
        ids, labels = tokens["input_ids"].values[part], tokens["labels"].values[part]
        assert labels[:-1].tolist() == ids[1:].tolist()
    assert TASKS["causal-lm"].self_contained


@pytest.mark.parametrize(
    "codec",
    ["sampled:n=8", *(pytest.param(c, marks=pytest.mark.slow) for c in ("topk:k=4", "float16"))],
)
def test_columns_of_a_head_behind_the_tokens_are_never_drawn_nor_counted(
    codec: str, lm: Lm, texts: Path, tmp_path: Path
) -> None:
    """One map of tokens under two heads padded to other sizes, as 151,936 and 152,064 over 151,665:
    the teacher's filling is what it is surest of.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(lm("llama", filling=7))
    width = len(make_tokenizer())
    with torch.no_grad():
        model.lm_head.weight[width:] = 9.0
        model.lm_head.weight[width + 1 :] = -9.0
    model.save_pretrained(tmp_path / "t")
    transformers.AutoTokenizer.from_pretrained(lm("llama")).save_pretrained(tmp_path / "t")
    named: dict[str, Any] = {"task": "causal-lm", "workspace": tmp_path / "w"}
    report = dump(str(tmp_path / "t"), str(texts), seq_len=24, device="cpu", codec=codec, **named)
    cache = Cache.open(report.cache)
    rows = np.arange(4)
    tokens = cache.tokens(rows)
    payload = cache.take(rows).payload
    ids = torch.from_numpy(tokens["input_ids"].values[:24].astype(np.int64))[None]
    with torch.no_grad():
        own = model(input_ids=ids).logits[0]
    assert (own.argmax(1) >= width).any()
    p = own[:, :width].softmax(1)[cache.take(rows[:1]).index]
    if isinstance(payload, Sparse):
        assert payload.ids.max() < width
        entropy = torch.special.entr(p).sum(1).numpy()
        np.testing.assert_allclose(payload.entropy[: len(p)], entropy, rtol=2e-3, atol=1e-3)
    else:
        np.testing.assert_allclose(
            torch.from_numpy(payload.logits[: len(p)]).softmax(1).numpy(), p.numpy(), atol=2e-3
        )
    folder = student(tmp_path / "s", make_tokenizer(), filling=3)
    out = train("kd", str(texts), student=folder, init="random", epochs=1, **named)
    scores = json.loads((out / "result.json").read_text())["metrics"]["dev"]
    made = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert made.get_output_embeddings().weight.shape[0] == width + 3
    dev = Cache.open(report.held_out[0].cache)
    total = 0.0
    everything = dev.tokens(np.arange(len(dev)))
    for row in range(len(dev)):
        part = slice(*everything["labels"].indptr[row : row + 2])
        label = torch.from_numpy(everything["labels"].values[part].astype(np.int64))
        ids = torch.from_numpy(everything["input_ids"].values[part].astype(np.int64))[None]
        with torch.no_grad():
            log_q = made(input_ids=ids).logits[0, :, :width].log_softmax(1)
        kept = label >= 0
        total -= float(log_q[kept].gather(1, label[kept][:, None]).sum())
    assert scores["nll"] == pytest.approx(total / dev.labels(np.arange(len(dev))).size, rel=1e-3)
