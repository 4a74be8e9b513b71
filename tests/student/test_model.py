"""Students from checkpoints: what is made anew, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, pipeline

from logitcache.config.shapes import check_revision
from logitcache.data.tasks.classification import Classification
from logitcache.errors import SpecError
from logitcache.student.model import build_student, save


def test_a_fresh_head_is_as_it_should_be_but_a_body_is_whole(
    checkpoint: Callable[..., Path], headless: Path, tmp_path: Path
) -> None:
    task = Classification(3, ("a", "b", "c"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint())
    for folder in (checkpoint(), headless):  # a head for two labels, and none
        assert (
            build_student(str(folder), "pretrained", task, tokenizer, 32, 0).config.num_labels == 3
        )
    damaged = Path(shutil.copytree(headless, tmp_path / "damaged"))
    state = load_file(damaged / "model.safetensors")
    kept: dict[str, torch.Tensor] = {
        name: t for name, t in state.items() if "layer.1.attention" not in name
    }
    save_file(kept, damaged / "model.safetensors", {"format": "pt"})
    lacking = len(state) - len(kept)
    expected = (
        f"damaged: expected a whole checkpoint, found one that lacks {lacking} weights of its body"
    )
    with pytest.raises(SpecError, match=expected):
        build_student(str(damaged), "pretrained", task, tokenizer, 32, 0)
    assert build_student(str(damaged), "random", task, tokenizer, 32, 0).config.num_labels == 3


def test_only_the_hub_has_revisions(headless: Path) -> None:
    for name, what in (("1x32", "a shape"), (str(headless), "a path")):
        check_revision(name, None)
        with pytest.raises(
            SpecError, match=f"expected a hub name beside --revision v1, found {what}. Leave"
        ):
            check_revision(name, "v1")
    check_revision("org/name", "v1")


def test_a_student_is_saved_with_the_longest_input_it_takes(headless: Path, tmp_path: Path) -> None:
    """So that `pipeline(..., truncation=True)` takes any text, whatever the tokenizer said before."""
    tokenizer = AutoTokenizer.from_pretrained(headless)
    tokenizer.model_max_length = int(1e30)
    model = build_student(
        str(headless), "pretrained", Classification(2, ("neg", "pos")), tokenizer, 32, 0
    )
    save(model, tokenizer, tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path))
    assert classify("a bright film " * 200, truncation=True)
    assert (
        AutoTokenizer.from_pretrained(tmp_path).model_max_length
        == model.config.max_position_embeddings
    )
