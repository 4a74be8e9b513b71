"""The teacher as it is asked: the same answers as `transformers` gives by hand, and what is
refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from logitcache.config.teacher import DumpSettings
from logitcache.data.collate import Collator, pad
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Source
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.models.load import UntrainedHead, fit_tokenizer, longest_input
from logitcache.models.quiet import quiet
from logitcache.teacher.model import LiveTeacher, load_teacher, saved_digest
from logitcache.teacher.plan import planned
from tests.shortly import some

KINDS = ("bert", "roberta", "gpt2-right", "gpt2-left")
LABELS = {"singles": ("neg", "pos"), "pairs": ("contradiction", "entailment", "neutral")}
Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def sources(
    singles_data: Path, pairs_data: Path, load_source: Callable[[Path], Source]
) -> dict[str, Source]:
    return {"singles": load_source(singles_data), "pairs": load_source(pairs_data)}


def by_hand(path: Path, source: Source, max_length: int) -> torch.Tensor:
    """One row at a time through what `transformers` loads, nothing of ours in between: f32[N, K]."""
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(path, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = source.split("train")
    fields = [column.to_pylist() for column in (rows.text, rows.text_pair) if column is not None]
    logits = []
    with torch.no_grad():
        for texts in zip(*fields, strict=True):
            inputs = tokenizer(*texts, return_tensors="pt", truncation=True, max_length=max_length)
            logits.append(model(**inputs).logits[0])
    return torch.stack(logits)


def shuffled(n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).permutation(n)


@pytest.mark.parametrize(
    ("kind", "data", "max_length"),
    some(
        product(KINDS, LABELS, (48, 12)),
        lambda case: (KINDS.index(case[0]) % 2 + (case[1] == "pairs")) % 2 == (case[2] == 12),
    ),
)
def test_answers_through_a_batch_are_those_by_hand(
    sources: dict[str, Source], checkpoint: Checkpoint, kind: str, data: str, max_length: int
) -> None:
    path, source = checkpoint(kind, LABELS[data]), sources[data]
    teacher = planned(
        load_teacher(str(path), device="cpu"), source, "train", DumpSettings(max_length)
    ).panel.first
    rows = replace(
        prepare(teacher.tokenizer, source.split("train"), max_length), padding=teacher.padding
    )
    lengths = rows.lengths()
    assert lengths.max() > lengths.min()  # so there is padding
    assert rows.cut.any() == (max_length == 12)  # and truncation
    expected = by_hand(path, source, max_length)
    places = shuffled(len(rows))
    live = {"live": LiveTeacher(teacher, rows)}
    batch = Collator(rows, Classification(len(LABELS[data]), LABELS[data]), live)(places)
    assert set(batch.inputs) == set(teacher.tokenizer.model_input_names)
    np.testing.assert_allclose(teacher.logits(batch.inputs), expected[places], atol=1e-5)
    above = expected - expected.max(1, keepdim=True).values
    np.testing.assert_allclose(batch.targets["live"].logits, above[places], atol=2e-5)


def test_the_tiny_models_tell_segments_and_rows_apart(
    sources: dict[str, Source], checkpoint: Checkpoint
) -> None:
    """What the parity test rests on: a lost segment or a swapped row would show."""
    teacher = load_teacher(str(checkpoint("bert", LABELS["pairs"])), device="cpu")
    rows = prepare(teacher.tokenizer, sources["pairs"].split("train"), 48)
    inputs = pad(rows, np.arange(8))
    without = {k: v for k, v in inputs.items() if k != "token_type_ids"}
    assert inputs["token_type_ids"].max() == 1
    answers = teacher.logits(inputs)
    assert (answers - teacher.logits(without)).abs().max() > 0.05
    assert (answers[1:] - answers[:-1]).abs().max(1).values.min() > 1e-3


def test_an_empty_text_is_answered_whatever_stands_beside(
    checkpoint: Checkpoint,
    write: Callable[..., Path],
    load_source: Callable[[Path], Source],
    tmp_path: Path,
) -> None:
    """GPT-2 has no token for it: by hand `transformers` fails on no tokens, here it is one padding
    token.
    """
    texts = [{"text": text, "label": i} for i, text in enumerate(("", "the film was very bright"))]
    source = load_source(write(tmp_path / "train.jsonl", texts).parent)
    for kind in KINDS:
        teacher = load_teacher(str(checkpoint(kind)), device="cpu")
        ids = teacher.tokenizer([""])["input_ids"][0] or [teacher.tokenizer.pad_token_id]
        alone = teacher.model(input_ids=torch.tensor([ids])).logits[0].detach()
        asked = planned(teacher, source, "train", DumpSettings(48))
        answers = asked.panel.first.answers(asked.prepare(0, 2), np.array([0, 1]))
        np.testing.assert_allclose(answers[0], alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_off(checkpoint: Checkpoint, sources: dict[str, Source], kind: str) -> None:
    teacher = load_teacher(str(checkpoint(kind, LABELS["singles"], 0.5)), device="cpu")
    inputs = pad(prepare(teacher.tokenizer, sources["singles"].split("train"), 48), np.arange(8))
    assert not teacher.model.training
    assert torch.equal(teacher.logits(inputs), teacher.logits(inputs))


def test_columns_follow_the_order(checkpoint: Checkpoint, sources: dict[str, Source]) -> None:
    teacher = load_teacher(str(checkpoint("bert", LABELS["pairs"])), device="cpu")
    inputs = pad(prepare(teacher.tokenizer, sources["pairs"].split("train"), 48), np.arange(4))
    order = np.array([2, 0, 1])
    permuted = replace(teacher, order=order)
    assert torch.equal(permuted.logits(inputs), teacher.logits(inputs)[:, order])


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_input_is_read_and_one_token_more_is_not(
    checkpoint: Checkpoint, kind: str
) -> None:
    """RoBERTa's table of 50 positions reads 48 tokens, whatever its tokenizer believes."""
    teacher = load_teacher(str(checkpoint(kind)), device="cpu")
    teacher.tokenizer.model_max_length = int(1e30)
    longest = longest_input(teacher.model, teacher.tokenizer)
    assert longest == teacher.max_length == 48
    ids = np.full((1, longest + 1), 40)
    mask = np.ones_like(ids)
    assert teacher.logits({"input_ids": ids[:, 1:], "attention_mask": mask[:, 1:]}).isfinite().all()
    with pytest.raises(SpecError, match=r"found an error of the model's own \(\w+Error"):
        teacher.logits({"input_ids": ids, "attention_mask": mask})


def test_the_digest_is_that_of_the_weights_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    teacher = load_teacher(str(checkpoint()), device="cpu")
    copy = shutil.copytree(checkpoint(), tmp_path / "another name")
    assert load_teacher(str(copy), device="cpu").weights_digest() == teacher.weights_digest()
    assert load_teacher(str(copy), "bfloat16", "cpu").weights_digest() != teacher.weights_digest()
    with torch.no_grad():
        teacher.model.classifier.bias[0] += 1e-3  # type: ignore[union-attr, operator, index]
    assert load_teacher(str(copy), device="cpu").weights_digest() != teacher.weights_digest()


def test_the_same_weights_with_other_settings_are_another_teacher(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    teacher = load_teacher(str(checkpoint()), device="cpu")
    copy = shutil.copytree(checkpoint(), tmp_path / "copy")
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "hidden_act": "relu"}))
    other = load_teacher(str(copy), device="cpu")
    assert other.weights_digest() == teacher.weights_digest()
    assert other.settings_digest() != teacher.settings_digest()
    (copy / "config.json").write_text(json.dumps({**settings, "transformers_version": "5.99"}))
    assert load_teacher(str(copy), device="cpu").settings_digest() == teacher.settings_digest()


def test_half_precision_computes_in_half_and_answers_in_single(checkpoint: Checkpoint) -> None:
    teacher = load_teacher(str(checkpoint()), "bfloat16", "cpu")
    assert teacher.model.dtype == torch.bfloat16
    assert teacher.logits({"input_ids": np.array([[2, 5, 3]])}).dtype == torch.float32


@pytest.fixture
def copied(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(checkpoint(), tmp_path / "teacher"))


def refusal(path: Path | str, **how: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load_teacher(str(path), **how)
    message = str(caught.value)
    assert "\n" not in message
    assert how or message.startswith(str(path))
    return message


def test_what_is_no_checkpoint_is_refused(copied: Path, tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "no such folder" in refusal("nobody/nothing")
    config = copied / "config.json"
    for setting in ({"use_return_dict": False}, {"hidden_size": "wide"}, {"hidden_size": [16]}):
        told = config.read_text()
        config.write_text(json.dumps({**json.loads(told), **setting}))
        assert next(iter(setting)) in refusal(copied)
        config.write_text(told)
    (tmp_path / "empty").mkdir()
    assert "no teacher can be loaded" in refusal(tmp_path / "empty")
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "no teacher can be loaded" in refusal(copied)
    weights.unlink()
    assert "model.safetensors" in refusal(copied)
    (copied / "config.json").write_text("{")
    assert "config.json" in refusal(copied)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_a_pickle_is_refused_unopened(copied: Path, name: str) -> None:
    (copied / "model.safetensors").unlink()
    (copied / name).write_bytes(b"cos\nabort\n(tR.")  # opened, it would end the process
    message = refusal(copied)
    assert f"expected model.safetensors, found {name}, a pickle" in message
    assert "use_safetensors=False).save_pretrained(FOLDER)" in message


def test_a_pickle_beside_safetensors_is_no_matter(copied: Path) -> None:
    (copied / "pytorch_model.bin").write_bytes(b"cos\nabort\n(tR.")
    assert load_teacher(str(copied), device="cpu").revision is None
    (copied / "config.json").write_text("{")
    assert "expected an object of JSON in config.json" in refusal(copied)


def test_an_adapter_without_its_model_is_called_one(copied: Path) -> None:
    (copied / "config.json").rename(copied / "adapter_config.json")
    assert "found an adapter (adapter_config.json). Merge it into its model with peft" in refusal(
        copied
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pointer_in_place_of_a_file_is_called_one(copied: Path, name: str) -> None:
    (copied / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    )
    message = refusal(copied)
    assert f"expected {name}, found a Git LFS pointer" in message
    assert "`git lfs pull`" in message


def test_a_revision_is_the_hubs(copied: Path, tmp_path: Path) -> None:
    assert "expected a hub name beside --revision v1, found a path" in refusal(
        copied, revision="v1"
    )
    assert "there is no such folder." in refusal(tmp_path / "nowhere", revision="v1")


def test_a_checkpoint_without_a_tokenizer_is_refused(copied: Path) -> None:
    """`transformers` makes an empty tokenizer of it, to which every text is the same."""
    for file in copied.glob("tokenizer*"):
        file.unlink()
    assert "tokenizer" in refusal(copied)


def test_an_untrained_head_is_refused(copied: Path, tmp_path: Path) -> None:
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(copied)
        model.base_model.save_pretrained(copied)
    with pytest.raises(UntrainedHead, match="classifier"):
        load_teacher(str(copied))
    message = refusal(copied)
    assert "`logitcache dump` fine-tunes it first (--finetune auto)" in message
    assert f"logitcache train --method base --student {copied}" in message


def without(folder: Path, name: str) -> Path:
    """The checkpoint without one tensor."""
    state = load_file(folder / "model.safetensors")
    del state[name]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


BODY = "bert.encoder.layer.1.output.dense.weight"


def test_a_checkpoint_that_lacks_weights_of_its_body_is_refused(copied: Path) -> None:
    """`transformers` fills them in at random; with a head or without it, that is no matter of
    fine-tuning.
    """
    for name in (BODY, "classifier.weight"):
        with pytest.raises(
            SpecError, match=f"found one that lacks 1 weights of its body .first {BODY}."
        ) as caught:
            load_teacher(str(without(copied, name)))
        assert type(caught.value) is SpecError


def test_a_body_of_other_shapes_than_the_config_states_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))
    assert (
        "found one that lacks 6 weights of its body (first bert.encoder.layer.0.intermediate"
        in refusal(copied)
    )


def test_a_pooler_is_a_part_of_the_head(copied: Path) -> None:
    with pytest.raises(UntrainedHead, match="pooler"):
        load_teacher(str(without(copied, "bert.pooler.dense.weight")))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_digest_of_a_file_is_that_of_the_teacher_in_it(copied: Path, dtype: str) -> None:
    assert saved_digest(copied, dtype) == load_teacher(str(copied), dtype, "cpu").weights_digest()
    (copied / "model.safetensors").write_bytes(b"no such thing")
    assert saved_digest(copied, dtype) is saved_digest(copied / "nowhere", dtype) is None


def test_a_head_of_another_size_than_the_config_states_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["id2label"], config["label2id"] = (
        {"0": "a", "1": "b", "2": "c"},
        {"a": 0, "b": 1, "c": 2},
    )
    (copied / "config.json").write_text(json.dumps(config))
    assert "classifier" in refusal(copied)


def test_a_tokenizer_of_another_model_is_refused(checkpoint: Checkpoint) -> None:
    teacher, other = (
        load_teacher(str(checkpoint(kind)), device="cpu") for kind in ("bert", "roberta")
    )
    with pytest.raises(
        SpecError, match=r"here: expected a tokenizer of at most 87 tokens, found \d+"
    ):
        fit_tokenizer(other.tokenizer, teacher.model, "here")


@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(checkpoint: Checkpoint, device: str) -> None:
    said = refusal(checkpoint(), device=device)
    assert f"--device: {device!r} cannot be used" in said
    assert re.search(r"[.!] Leave --device out", said)
