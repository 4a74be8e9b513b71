"""Advice about checkpoints is followed literally, and arrives: the checkpoint is then a teacher."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from logitcache.errors import LogitCacheError, SpecError
from logitcache.models.load import load_tokenizer
from logitcache.teacher.model import load_teacher

WEIGHTS, CONFIG, TOKENIZER_CONFIG = "model.safetensors", "config.json", "tokenizer_config.json"
Change = Callable[[Path], object]


def saying(name: str, **values: Any) -> Change:
    """Other values in a file of JSON."""
    return lambda folder: (folder / name).write_text(
        json.dumps({**json.loads((folder / name).read_text()), **values})
    )


def in_two_files(folder: Path) -> None:
    """Weights in two shards, of which one lies elsewhere."""
    weights = load_file(folder / WEIGHTS)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    files = {name: names[place % 2] for place, name in enumerate(sorted(weights))}
    for file, target in zip(names, (folder, folder.parent), strict=True):
        part = {name: weights[name] for name in weights if files[name] == file}
        save_file(part, target / file, metadata={"format": "pt"})
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (folder / WEIGHTS).unlink()


def bring_the_second(folder: Path) -> None:
    shutil.copy(folder.parent / "model-00002-of-00002.safetensors", folder)


def apart(folder: Path) -> None:
    """As the hub keeps it: the weights elsewhere, a link in their place that leads nowhere from a
    copy.
    """
    (folder.parent / "blob").write_bytes((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("../snapshots/blob")


def copied_with_its_links(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    shutil.copy(folder.parent / "blob", folder / WEIGHTS)


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", TOKENIZER_CONFIG):
        (folder / name).rename(folder.parent / name)


def its_tokenizer_saved(folder: Path) -> None:
    for name in ("tokenizer.json", TOKENIZER_CONFIG):
        (folder.parent / name).rename(folder / name)
    load_tokenizer(str(folder)).save_pretrained(folder)


def pointer(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def pulled(folder: Path) -> None:
    (folder.parent / WEIGHTS).rename(folder / WEIGHTS)


def whole_names(folder: Path) -> object:
    names = {"0": "neg", "1": "pos"}
    return saying(CONFIG, id2label=names, label2id={"neg": 0, "pos": 1})(folder)


def wrapped(folder: Path) -> None:
    """Weights of a model inside another one, which was saved whole."""
    weights = load_file(folder / WEIGHTS)
    named = {f"module.{name}": value for name, value in weights.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})


def unwrapped(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    named = {name.removeprefix("module."): value for name, value in weights.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})


CIRCLES: dict[str, tuple[Change, str, Change]] = {
    "half of the shards": (in_two_files, "Copy or download them into the folder", bring_the_second),
    "links": (apart, "Copy the folder with what its links lead to", copied_with_its_links),
    "a model inside another one": (wrapped, "model.module.save_pretrained(FOLDER)", unwrapped),
    "a pointer": (pointer, "or download the file", pulled),
    "names in a list": (
        saying(CONFIG, id2label=["neg", "pos"]),
        "Correct id2label in its config.json",
        whole_names,
    ),
    "a gap between names": (
        saying(CONFIG, id2label={"0": "neg", "2": "pos"}),
        "Correct id2label",
        whole_names,
    ),
    "too many names": (
        saying(CONFIG, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2}),
        "Correct id2label in its config.json: one name for each column",
        whole_names,
    ),
    "names that contradict": (
        saying(CONFIG, id2label={"0": "pos", "1": "neg"}, label2id={"neg": 0, "pos": 1}),
        "label2id is id2label the other way round",
        saying(CONFIG, label2id={"pos": 0, "neg": 1}),
    ),
    "a problem of several labels": (
        saying(CONFIG, problem_type="multi_label_classification"),
        "correct problem_type there",
        saying(CONFIG, problem_type="single_label_classification"),
    ),
    "more layers than are used": (
        saying(CONFIG, num_hidden_layers=1),
        "Correct the number of layers",
        saying(CONFIG, num_hidden_layers=2),
    ),
    "a text for a number": (
        saying(CONFIG, layer_norm_eps="1e-12"),
        "Correct that value",
        saying(CONFIG, layer_norm_eps=1e-12),
    ),
    "a type that nobody knows": (
        saying(CONFIG, model_type="berd"),
        "Correct it",
        saying(CONFIG, model_type="bert"),
    ),
    "a thousand layers too many": (
        saying(CONFIG, num_hidden_layers=10**6),
        "Correct it",
        saying(CONFIG, num_hidden_layers=2),
    ),
    "no tokenizer": (
        no_tokenizer,
        "Save it there with tokenizer.save_pretrained",
        its_tokenizer_saved,
    ),
    "no room for a text": (
        saying(TOKENIZER_CONFIG, model_max_length=1),
        "Correct model_max_length",
        saying(TOKENIZER_CONFIG, model_max_length=48),
    ),
}


@pytest.mark.parametrize("circle", CIRCLES)
def test_advice_arrives(checkpoint: Callable[..., Path], tmp_path: Path, circle: str) -> None:
    folder = shutil.copytree(checkpoint(), tmp_path / "teacher")
    change, advice, follow = CIRCLES[circle]
    change(folder)
    with pytest.raises(LogitCacheError) as caught:
        load_teacher(str(folder), device="cpu")
    assert re.search(re.escape(advice), str(caught.value)), caught.value
    follow(folder)
    load_teacher(str(folder), device="cpu")


def test_a_tokenizer_names_the_value_that_its_config_is_refused_for(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = shutil.copytree(checkpoint(), tmp_path / "teacher")
    saying(CONFIG, id2label=["a", "b"])(teacher)
    with pytest.raises(SpecError, match=r"no tokenizer .* id2label as .* Correct id2label"):
        load_tokenizer(str(teacher))
