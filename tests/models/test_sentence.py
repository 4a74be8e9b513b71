"""Sentence encoders: their layouts are read as they are written, and others are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from logitcache.data.tasks.embedding import SentenceEmbedding
from logitcache.errors import SpecError
from logitcache.models.sentence import SentenceEncoder, save_model
from logitcache.teacher.model import load_teacher
from tests.stages.sentences import PACKAGE, read_vectors, write_encoder

TEXTS = ("good", "bad and good film", "a", "the plot is the plot")
LAYOUTS: list[dict[str, Any]] = [
    {"pooling": "mean_tokens"},
    {"pooling": "cls_token", "normalises": False},
    {"pooling": "mean_tokens", "dense": 12},
]


def vectors_of(folder: Path) -> np.ndarray:
    """What the model answers in one batch."""
    teacher = load_teacher(str(folder), device="cpu", kind=SentenceEmbedding)
    inputs = teacher.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        vectors: np.ndarray = teacher.model(**inputs).logits.numpy()
    return vectors


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_and_written(
    headless: Path, tmp_path: Path, layout: dict[str, Any]
) -> None:
    folder = write_encoder(headless, tmp_path / "theirs", **layout)
    vectors = vectors_of(folder)
    np.testing.assert_allclose(vectors, read_vectors(folder, TEXTS), atol=1e-5)
    model = SentenceEncoder.from_pretrained(str(folder))
    model.fit_width(7)
    assert model.width == 7
    (tmp_path / "ours").mkdir()
    save_model(model, tmp_path / "ours")
    load_teacher(str(folder), kind=SentenceEmbedding).tokenizer.save_pretrained(tmp_path / "ours")
    assert "sentence_layout" not in json.loads((tmp_path / "ours" / "config.json").read_text())
    again = vectors_of(tmp_path / "ours")
    assert again.shape == (len(TEXTS), 7)
    np.testing.assert_allclose(again, read_vectors(tmp_path / "ours", TEXTS), atol=1e-5)


def test_the_package_reads_what_is_written(headless: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    folder = write_encoder(headless, tmp_path / "theirs")
    model = SentenceEncoder.from_pretrained(str(folder))
    model.fit_width(7)
    tokenizer = load_teacher(str(folder), kind=SentenceEmbedding).tokenizer
    (tmp_path / "ours").mkdir()
    save_model(model, tmp_path / "ours")
    tokenizer.save_pretrained(tmp_path / "ours")
    theirs = package.SentenceTransformer(str(tmp_path / "ours"), device="cpu").encode(list(TEXTS))
    np.testing.assert_allclose(theirs, vectors_of(tmp_path / "ours"), atol=1e-5)


def _json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return edit


def _another(kind: str) -> Callable[[Path], None]:
    def change(modules: Any) -> Any:
        return [*modules[:2], {"idx": 2, "name": "2", "path": "2", "type": kind}, modules[2]]

    return _json("modules.json", change)


_lower_case = _json("sentence_bert_config.json", lambda v: {"do_lower_case": True})


def _with_capitals(folder: Path) -> None:
    """Its tokenizer keeps them, and texts are lower-cased before."""
    _lower_case(folder)
    tokenizer = BertTokenizer.from_pretrained(folder)
    BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=False).save_pretrained(folder)


def test_lower_case_may_be_the_tokenizers(headless: Path, tmp_path: Path) -> None:
    folder = write_encoder(headless, tmp_path / "theirs")
    vectors = vectors_of(folder)
    _lower_case(folder)
    np.testing.assert_array_equal(vectors_of(folder), vectors)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_json("1_Pooling/config.json", lambda v: {"pooling_mode_max_tokens": True}),
         r"1_Pooling/config.json: expected pooling by mean or cls, found max\."),
        (_json("1_Pooling/config.json", lambda v: {**v, "pooling_mode_cls_token": True}),
         r"found mean, cls\."),
        (_json("1_Pooling/config.json", lambda v: {"pooling_mode": ["mean", "lasttoken"]}),
         r"expected pooling by mean or cls, found mean, lasttoken\."),
        (_json("modules.json", lambda v: {"a": 1}),
         r"modules.json: expected a list of modules, each with type and path, found {'a': 1}\."),
        (_json("modules.json", lambda v: ["a"]), r"each with type and path, found a\."),
        (lambda folder: (folder / "model.safetensors").unlink(),
         r"expected model.safetensors, found no weights\."),
        (_another(f"{PACKAGE}.LayerNorm"), r"found Transformer, Pooling, LayerNorm, Normalize\."),
        (_another("my.code.Dense"), r"found Transformer, Pooling, my.code.Dense, Normalize\."),
        (_another(f"{PACKAGE}.Dense"), r"2: expected model.safetensors, found none\."),
        (_json("config_sentence_transformers.json", lambda v: {"default_prompt_name": "query"}),
         r"expected no default_prompt_name, found 'query'\. Put the prompt before the texts"),
        (_with_capitals,
         r"expected a tokenizer that lower-cases, or do_lower_case false, found do_lower_case true\."),
        (lambda folder: (folder / "modules.json").unlink(),
         r"expected a sentence encoder's modules.json, found none\. Give --pooling mean or"),
    ],
)  # fmt: skip
def test_other_layouts_are_refused_by_name(
    headless: Path, tmp_path: Path, edit: Callable[[Path], None], message: str
) -> None:
    folder = write_encoder(headless, tmp_path / "theirs")
    edit(folder)
    with pytest.raises(SpecError, match=message):
        load_teacher(str(folder), device="cpu", kind=SentenceEmbedding)


def test_a_map_that_does_not_fit_is_refused(headless: Path, tmp_path: Path) -> None:
    folder = write_encoder(headless, tmp_path / "theirs", dense=12)
    _json("2_Dense/config.json", lambda v: {**v, "out_features": 9})(folder)
    with pytest.raises(
        SpecError, match=r"2_Dense: expected a map of 32 to 9 numbers, found weights \[12, 32\]"
    ):
        load_teacher(str(folder), device="cpu", kind=SentenceEmbedding)
    weights = folder / "2_Dense" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(SpecError, match=r"2_Dense: expected weights in .* is cut or damaged"):
        load_teacher(str(folder), device="cpu", kind=SentenceEmbedding)


def test_pooling_is_that_of_the_layout_or_the_named_one(headless: Path, tmp_path: Path) -> None:
    folder = write_encoder(headless, tmp_path / "theirs")
    with pytest.raises(SpecError, match=r"expected --pooling as its modules.json says, found cls"):
        load_teacher(str(folder), device="cpu", kind=SentenceEmbedding, pooling="cls")
    bare = load_teacher(str(headless), device="cpu", kind=SentenceEmbedding, pooling="cls")
    assert bare.model.layout.pooling == "first"
    named = load_teacher(str(folder), device="cpu", kind=SentenceEmbedding, pooling="mean")
    assert named.settings_digest() != bare.settings_digest()
