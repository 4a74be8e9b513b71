"""Checkpoints as people have them that cannot be loaded: one line that says why, and advice that
works.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from logitcache.data.tasks.classification import Classification
from logitcache.errors import LogitCacheError, SpecError
from logitcache.models.load import load_tokenizer
from logitcache.models.loading import loading
from logitcache.student.model import build_student
from logitcache.teacher.model import load_teacher

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
Change = Callable[[Path], object]


@pytest.fixture
def teacher(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint(), tmp_path / "teacher")


def refusal(folder: Path) -> str:
    with pytest.raises(LogitCacheError) as caught:
        load_teacher(str(folder), device="cpu")
    line = str(caught.value)
    assert line.startswith(f"{folder}: ")
    assert len(line.splitlines()) == 1
    return line


def called(name: str) -> Change:
    """The weights under another name."""
    return lambda folder: (folder / WEIGHTS).rename(folder / name)


def holding(name: str, content: str | bytes) -> Change:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def saying(name: str = "config.json", **values: Any) -> Change:
    """Other values in a file of JSON; one of ... is taken out."""

    def change(folder: Path) -> None:
        document = {**json.loads((folder / name).read_text()), **values}
        kept = {key: value for key, value in document.items() if value is not ...}
        (folder / name).write_text(json.dumps(kept))

    return change


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def half(folder: Path) -> None:
    """Two shards, of which one was copied."""
    weights = load_file(folder / WEIGHTS)
    files = {
        name: f"model-0000{1 + place % 2}-of-00002.safetensors"
        for place, name in enumerate(sorted(weights))
    }
    first = {name: tensor for name, tensor in weights.items() if "00001" in files[name]}
    save_file(first, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (folder / WEIGHTS).unlink()


def linked(folder: Path) -> None:
    """As a snapshot of the hub's cache, copied without its blobs."""
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("../../blobs/abc")


ADAPTER = json.dumps(
    {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "bert-base-uncased"}
)
OWN_CODE = {
    "AutoConfig": "configuration_mine.Mine",
    "AutoModelForSequenceClassification": "modeling_mine.Mine",
}
KINDS: dict[str, tuple[Change, str]] = {
    "no weights": (
        without(WEIGHTS),
        "expected model.safetensors, found no weights. Save it with save_pretrained",
    ),
    "no config": (
        without("config.json"),
        "expected config.json, found none among model.safetensors",
    ),
    "empty weights": (
        holding(WEIGHTS, b""),
        "model.safetensors, which is cut or damaged .* download it again",
    ),
    "cut weights": (cut, "model.safetensors, which is cut or damaged"),
    "a page in place of weights": (holding(WEIGHTS, "<!DOCTYPE html>"), "which is cut or damaged"),
    "a huge header": (
        holding(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"),
        "which is cut or damaged",
    ),
    "a pointer": (holding(WEIGHTS, POINTER), r"found a Git LFS pointer.* Run `git lfs pull`"),
    "a pointer in place of its config": (
        holding("config.json", POINTER),
        "expected config.json, found a Git LFS",
    ),
    "a pointer in place of its tokenizer": (
        holding("tokenizer.json", POINTER),
        "expected tokenizer.json, found a Git",
    ),
    "links": (linked, r"found a link to a file that is not there\. Copy .*cp -rL"),
    "a pickle": (called("pytorch_model.bin"), "found pytorch_model.bin, a pickle"),
    "TensorFlow": (
        called("tf_model.h5"),
        "tf_model.h5, weights of TensorFlow. Convert it with transformers 4",
    ),
    "Flax": (called("flax_model.msgpack"), "weights of Flax. Convert it .*from_flax=True"),
    "ONNX": (
        called("model.onnx"),
        "model.onnx, an ONNX export. Give the checkpoint that it was made from",
    ),
    "llama.cpp": (
        both(called("m-q4_0.gguf"), without("config.json")),
        "m-q4_0.gguf, weights of llama.cpp",
    ),
    "rust-bert": (called("rust_model.ot"), "weights of rust-bert"),
    "DeepSpeed": (
        both(without(WEIGHTS), holding("zero_to_fp32.py", "")),
        "shards of DeepSpeed. Run `python zero_to",
    ),
    "Lightning": (
        both(called("epoch=3.ckpt"), without("config.json")),
        "a checkpoint of PyTorch Lightning",
    ),
    "half of the shards": (half, "1 of them missing .*model-00002-of-00002.safetensors"),
    "an index of nothing": (
        both(without(WEIGHTS), holding(f"{WEIGHTS}.index.json", "{}")),
        "expected",
    ),
    "an adapter": (
        both(
            without("config.json"),
            called("adapter_model.safetensors"),
            holding("adapter_config.json", ADAPTER),
        ),
        r"found an adapter .*merge_and_unload\(\)",
    ),
    "an adapter beside its model": (
        holding("adapter_config.json", ADAPTER),
        "which is not applied .* peft",
    ),
    "a config of nothing": (
        holding("config.json", ""),
        "expected an object of JSON in config.json",
    ),
    "a config that is a list": (holding("config.json", "[]"), "in config.json, found a list"),
    "a config nested deeply": (
        holding("config.json", "[" * 100_000),
        "expected an object of JSON in config.json",
    ),
    "no model type": (
        saying(model_type=...),
        "expected a model_type that transformers .* found none",
    ),
    "a new model type": (
        saying(model_type="qwen99"),
        "found 'qwen99'. Correct it, or upgrade transformers",
    ),
    "a model of images": (
        saying(model_type="vit"),
        "found one of type vit, which has none. Give a model that reads",
    ),
    "a model of sounds": (saying(model_type="wav2vec2"), "type wav2vec2, which has none"),
    "code of its own": (
        saying(model_type="mine", auto_map=OWN_CODE),
        "Read that code; --trust-remote-code",
    ),
    "4 bits": (
        saying(quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"}),
        "bitsandbytes",
    ),
    "GPTQ": (
        saying(quantization_config={"quant_method": "gptq", "bits": 4}),
        r"quantised \(gptq\).*before it was",
    ),
    "names in a list": (saying(id2label=["a", "b"]), "expected id2label as .* Correct id2label"),
    "names by words": (saying(id2label={"a": "0"}), "expected id2label as .* Correct id2label"),
    "as many classes as fit nowhere": (
        saying(num_labels=10**9),
        "expected num_labels from 0 to 1,048,576",
    ),
    "more layers than any": (
        saying(num_hidden_layers=10**9),
        "expected num_hidden_layers from 0 to 4,096",
    ),
    "a size below zero": (saying(hidden_size=-32), "negative dimension -32"),
    "no heads": (saying(num_attention_heads=0), "integer modulo by zero"),
    "no words": (saying(vocab_size=0), "no teacher can be loaded: IndexError"),
    "a padding token beyond the words": (saying(pad_token_id=10**6), "Padding_idx must be within"),
    "a text for a number": (
        saying(layer_norm_eps="1e-12"),
        "its config.json is refused: .*layer_norm_eps",
    ),
    "a size as text": (
        saying(hidden_size="32"),
        "its config.json is refused: .*hidden_size.* Correct that value",
    ),
    "no type of torch's": (saying(dtype="torch.float16"), "refused: dtype .* Correct that value"),
    "several labels a row": (
        saying(problem_type="multi_label_classification"),
        "classes that exclude one another",
    ),
    "other names than columns": (
        saying(id2label={"0": "a", "1": "b", "2": "c"}, label2id=...),
        r"classifier.* of shape \[2.*\], where its config.json says \[3.*Correct id2label",
    ),
    "columns from -1": (
        saying(id2label={"-1": "neg", "0": "pos"}),
        r"columns from 0 to 1, found \[-1, 0\]",
    ),
    "no room for a text": (
        saying("tokenizer_config.json", model_max_length=0),
        "Correct model_max_length",
    ),
    "room for less than nothing": (
        saying("tokenizer_config.json", model_max_length=-1),
        "Correct model_max_length",
    ),
    "one column": (saying(id2label={"0": "score"}, label2id={"score": 0}), "expected"),
    "flash attention": (saying(attn_implementation="flash_attention_2"), "FlashAttention2"),
    "a text config": (saying(text_config={"hidden_size": 1}), "no teacher can be loaded"),
    "a tokenizer of nothing": (
        holding("tokenizer.json", ""),
        "expected an object of JSON in tokenizer.json",
    ),
    "a tokenizer's config cut": (
        holding("tokenizer_config.json", "{"),
        "an object of JSON in tokenizer_config.json",
    ),
    "a tokenizer that is not there": (
        without("tokenizer.json"),
        "expected a tokenizer that knows words, found one of [0-9]+ special tokens alone",
    ),
    "more tokens than embeddings": (saying("added_tokens.json"), "expected a tokenizer of at most"),
}


def more_tokens(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    words = document["model"]["vocab"]
    words.update({f"extra{number}": len(words) + number for number in range(2000)})
    (folder / "tokenizer.json").write_text(json.dumps(document))


def rounded(folder: Path) -> None:
    import torch

    weights = {name: tensor.to(torch.int8) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def layered(folder: Path) -> None:
    """More layers in the weights than in the configuration."""
    weights = load_file(folder / WEIGHTS)
    more = {
        name.replace(".layer.0.", ".layer.7."): tensor.clone() for name, tensor in weights.items()
    }
    save_file({**more, **weights}, folder / WEIGHTS, metadata={"format": "pt"})


KINDS["8 bits and no word of it"] = (
    rounded,
    "in I8, and no quantization_config.*before it was quantised",
)
KINDS["more layers than are used"] = (
    layered,
    "weights of more layers than are used .*Correct the number of layers",
)
KINDS["more tokens than embeddings"] = (more_tokens, "expected a tokenizer of at most")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_teacher_is_told_in_one_line(teacher: Path, kind: str) -> None:
    change, words = KINDS[kind]
    change(teacher)
    line = refusal(teacher)
    assert re.search(words, line), line


def test_a_package_that_reads_its_vocabulary_is_named(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a checkpoint of DeBERTa, where sentencepiece is not installed."""
    monkeypatch.setattr("logitcache.models.causes.find_spec", lambda name: None)
    both(without("tokenizer.json"), holding("spm.model", "pieces"))(teacher)
    saying("tokenizer_config.json", tokenizer_class="DebertaV2Tokenizer")(teacher)
    line = refusal(teacher)
    assert "expected the package sentencepiece" in line
    assert line.endswith("Install it: pip install sentencepiece protobuf.")


def test_a_file_or_a_folder_above_names_the_folder(teacher: Path, tmp_path: Path) -> None:
    """The advice is followed: a file of the checkpoint, a Trainer's output, a repository in the
    hub's cache.
    """
    above = tmp_path / "output"
    for name in ("checkpoint-20", "checkpoint-100"):
        shutil.copytree(teacher, above / name)
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0a1b2c"
    shutil.copytree(teacher, snapshot)
    for given, meant in (
        (teacher / WEIGHTS, teacher),
        (above, above / "checkpoint-100"),
        (snapshot.parents[1], snapshot),
    ):
        line = refusal(given)
        advised = re.search(r"Give .*: (\S+)$", line)
        assert advised is not None, line
        assert advised[1] == str(meant)
        load_teacher(advised[1], device="cpu")


def test_a_pickle_is_converted_as_the_line_says(teacher: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification  # noqa: F401  # the line names it

    torch.save(load_file(teacher / WEIGHTS), teacher / "pytorch_model.bin")
    (teacher / WEIGHTS).unlink()
    call = re.search(r"trust it: (.*save_pretrained\(FOLDER\))", refusal(teacher))
    assert call is not None
    eval(call[1], {**locals(), "FOLDER": str(tmp_path / "converted")})
    load_tokenizer(str(teacher)).save_pretrained(tmp_path / "converted")
    load_teacher(str(tmp_path / "converted"), device="cpu")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_a_signal_are_no_fault_of_a_checkpoint(
    teacher: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)), loading("teacher", str(teacher), ""):
        raise error


def test_a_machine_without_memory(teacher: Path) -> None:
    with (
        pytest.raises(SpecError, match=r"no memory left for it\. Give a smaller model"),
        loading("teacher", str(teacher), ""),
    ):
        raise MemoryError


def test_what_cannot_be_saved_is_known_before_a_training(teacher: Path) -> None:
    tokenizer = load_tokenizer(str(teacher))
    tokenizer.chat_template = {"a": 1}
    with pytest.raises(
        SpecError, match=r"it cannot be saved: TypeError: .*until save_pretrained works"
    ):
        build_student(
            str(teacher), "pretrained", Classification(2, ("neg", "pos")), tokenizer, 32, 0
        )


@pytest.mark.parametrize(
    "kind", ["cut weights", "a model of images", "no heads", "4 bits", "a text for a number"]
)
def test_a_student_is_refused_alike(teacher: Path, kind: str) -> None:
    change, words = KINDS[kind]
    tokenizer = load_tokenizer(str(teacher))
    change(teacher)
    with pytest.raises(SpecError) as caught:
        build_student(
            str(teacher), "pretrained", Classification(2, ("neg", "pos")), tokenizer, 32, 0
        )
    assert re.search(words.replace("teacher", "student"), str(caught.value)), caught.value
