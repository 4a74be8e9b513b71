"""A model in a .gguf file: refused in words where it cannot be read, and else a teacher and a
student as any other. What reads one needs the package gguf, and is skipped where there is none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.api import dump, repair, train, verify_live
from logitcache.cache.cache import Cache
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.hub import on_hub
from logitcache.models.gguf import location
from logitcache.reporter import SILENT
from logitcache.stages.defaults import checkpoint_name, folder_name
from logitcache.stages.preflight import checkpoint
from logitcache.teacher.model import load_teacher

MERGES = ("Ġ w", "i n", "t h")
WIDTH, HIDDEN, LAYERS = 32, 64, 1


@pytest.fixture
def named(tmp_path: Path) -> dict[str, Any]:
    return {"task": "causal-lm", "workspace": tmp_path / "w", "reporter": SILENT}


def tiny(path: Path, merges: tuple[str, ...] = MERGES) -> str:
    """A Llama of one layer with a byte-level vocabulary, written as llama.cpp does."""
    gguf = pytest.importorskip("gguf")
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|endoftext|>", "<s>", "</s>", *letters, "Ġ", *(m.replace(" ", "") for m in MERGES)]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    draw = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), WIDTH), "blk.0.ffn_down": (WIDTH, HIDDEN)}
    shapes |= dict.fromkeys(("blk.0.ffn_gate", "blk.0.ffn_up"), (HIDDEN, WIDTH))
    shapes |= {f"blk.0.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(0, 0.3, shape).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def test_a_gguf_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the files alone, before torch is loaded."""
    file = tmp_path / "model.gguf"
    with pytest.raises(SpecError, match=r"expected a \.gguf file, found no such file"):
        checkpoint("teacher", str(file), None)
    file.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(SpecError, match=r"found a file that does not begin with GGUF"):
        checkpoint("student", str(file), None)
    file.write_bytes(b"GGUF")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"expected the package gguf, .* Run: pip install gguf"):
        checkpoint("teacher", str(file), None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert checkpoint("teacher", str(file), None) is None
    assert location(str(file)) == (str(tmp_path), {"gguf_file": "model.gguf"})


def test_a_run_records_a_gguf_file_by_its_content(tmp_path: Path) -> None:
    names = set()
    for content in (b"GGUF1", b"GGUF2", b"GGUF1"):
        file = tmp_path / "m.gguf"
        file.write_bytes(content)
        names.add(checkpoint_name(str(file)))
    assert len(names) == 2
    assert all(name.startswith("m.gguf@") for name in names)
    assert folder_name(str(file)) == "m.gguf"


def test_a_gguf_file_teaches_and_learns(
    tmp_path: Path, texts: Path, named: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny(tmp_path / "m.gguf")
    cache = dump(file, str(texts), seq_len=48, codec="replay", device="cpu", **named).cache
    assert Cache.open(cache).manifest.plan.teacher["name"] == "m.gguf"
    student: dict[str, Any] = {"student": file, "epochs": 1, "batch_size": 64}
    own = train("kd", str(texts), learning_rate=1e-9, out=tmp_path / "own", **student, **named)
    scores = json.loads((own / "result.json").read_text())["metrics"]["dev"]
    assert scores["kl"] == pytest.approx(0, abs=1e-4)
    fresh = train("kd", str(texts), init="random", out=tmp_path / "fresh", **student, **named)
    scores = json.loads((fresh / "result.json").read_text())["metrics"]["dev"]
    assert scores["kl"] > 0.01
    first = cache / "shards" / "00000.arrow"
    first.write_bytes(first.read_bytes()[:-1] + b"!")
    again = {"workspace": named["workspace"], "device": "cpu", "reporter": SILENT}
    assert repair(cache, file, str(texts), **again).repaired == [0]
    assert "GGUF" not in "".join(capsys.readouterr())  # no bars of the library


def test_a_gguf_file_of_another_tokenizer_is_told_apart(
    tmp_path: Path, texts: Path, named: dict[str, Any]
) -> None:
    """The same tokens with other merges split a text otherwise; --tokenizer overrides them."""
    import transformers

    published = tiny(tmp_path / "published.gguf")
    own = tiny(tmp_path / "own.gguf", MERGES[:1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="published.gguf")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    how: dict[str, Any] = {"seq_len": 48, "device": "cpu", "codec": "float32", **named}
    plans = {}
    for name, file, extra in (
        ("published", published, {}),
        ("own", own, {}),
        ("named", own, {"tokenizer": str(tmp_path / "tokenizer")}),
    ):
        report = dump(file, str(texts), out=tmp_path / name, **extra, **how)
        plans[name] = Cache.open(report.cache).manifest.plan
    kinds = {name: plan.preprocessor for name, plan in plans.items()}
    assert kinds["published"]["map"] == kinds["own"]["map"]
    assert kinds["published"]["merges"] != kinds["own"]["merges"]
    assert kinds["published"] == kinds["named"]
    assert plans["published"].data["digest"] == plans["named"].data["digest"]
    with pytest.raises(FingerprintMismatch, match=r"tokenizer\.merges = "):
        dump(own, str(texts), out=tmp_path / "named", **how)
    again = {"workspace": named["workspace"], "device": "cpu", "reporter": SILENT}
    live = verify_live(
        tmp_path / "named", 2, own, str(texts), tokenizer=str(tmp_path / "tokenizer"), **again
    )
    assert live.agrees


@pytest.mark.parametrize("content", [b"GGUF", b"GGUF" + bytes(60)])
def test_a_damaged_gguf_file_is_named(
    content: bytes, tmp_path: Path, texts: Path, named: dict[str, Any]
) -> None:
    pytest.importorskip("gguf")
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"m\.gguf: no teacher can be loaded: .* Download it again"):
        dump(str(file), str(texts), device="cpu", **named)


@pytest.mark.parametrize("name", ["lost.gguf", "models/lost.GGUF"])
def test_a_gguf_file_that_is_gone_is_not_looked_for_on_the_hub(name: str) -> None:
    """As where `verify --live` goes by the teacher's name that a cache has recorded."""
    assert not on_hub(name)
    with pytest.raises(SpecError, match=r"found no such file.*--teacher") as caught:
        load_teacher(name, device="cpu")
    assert "hf download" not in str(caught.value)
