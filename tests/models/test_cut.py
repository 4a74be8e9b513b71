"""A student cut out of a checkpoint answers as the checkpoint with its other layers taken out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification

import logitcache
from logitcache.config.option import build
from logitcache.config.train import TrainConfig
from logitcache.errors import SpecError
from logitcache.models.cut import cut
from logitcache.reporter import SILENT
from logitcache.stages.layers import with_layers
from tests.runs import result
from tests.stages.sentences import write_encoder

STACKS = {"bert": "bert.encoder.layer", "roberta": "roberta.encoder.layer", "gpt2-right": "transformer.h"}  # fmt: skip


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1), (1, 0)])
def test_a_cut_model_is_the_whole_one_without_the_other_layers(
    kind: str, layers: tuple[int, ...], checkpoint: Callable[..., Path]
) -> None:
    path = str(checkpoint(kind))
    whole: Any = AutoModelForSequenceClassification.from_pretrained(path).eval()
    parent, _, name = STACKS[kind].rpartition(".")
    stack = whole.get_submodule(STACKS[kind])
    setattr(whole.get_submodule(parent), name, nn.ModuleList([stack[layer] for layer in layers]))
    model = cut(path, layers).eval()
    assert model.config.num_hidden_layers == len(layers)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    settings = {"use_cache": False} if kind.startswith("gpt2") else {}
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, whole(ids, **settings).logits)


def test_a_layer_that_is_not_there_is_refused(checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match=r"numbers of its 2 layers, 0 to 1, found 2"):
        cut(str(checkpoint()), (0, 2))


def test_a_cut_student_is_trained_and_recorded_as_what_it_is(
    checkpoint: Callable[..., Path], singles_data: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 1, "max_length": 32, "workspace": tmp_path}
    student = f"from:{checkpoint()}"
    folder = logitcache.train(
        "base", singles_data, student=student, layers="1", reporter=SILENT, **options
    )
    again = logitcache.train(
        "base", singles_data, student=student, layers=[1], reporter=SILENT, **options
    )
    assert folder == again
    assert "-layers-1-" in result(folder)["config"]["student"]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.num_hidden_layers == 1
    for wrong in ({"student": student}, {"student": "2x128", "layers": "0"}):
        with pytest.raises(SpecError, match="--layers"):
            logitcache.train("base", singles_data, reporter=SILENT, **options, **wrong)


def of_no_layout(folder: Path) -> None:
    (folder / "modules.json").unlink()


def with_another_pooling(folder: Path) -> None:
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')


def with_a_prompt(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({"default_prompt_name": "query"}))


def with_half_a_layout(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    del modules[1]["path"]
    (folder / "modules.json").write_text(json.dumps(modules))


def test_only_a_sentence_encoder_has_a_layout(headless: Path, tmp_path: Path) -> None:
    """Another student cut out of its checkpoint keeps the pooler, and is named by its content as
    that of a checkpoint without modules.json is.
    """
    pooler = load_file(headless / "model.safetensors")["pooler.dense.weight"]
    edits = (None, of_no_layout, with_another_pooling, with_a_prompt, with_half_a_layout)
    names = set()
    for number, edit in enumerate(edits):
        source = write_encoder(headless, tmp_path / "encoder")  # its path is in its configuration
        if edit is not None:
            edit(source)
        options = {"method": "base", "data": "rte", "student": f"from:{source}", "layers": "0"}
        config = build(TrainConfig, {**options, "workspace": tmp_path / str(number)})
        for task in (None, "masked-lm"):
            folder = Path(with_layers(config, task).student)
            weights = load_file(folder / "model.safetensors")
            assert weights["pooler.dense.weight"].numpy().tobytes() == pooler.numpy().tobytes()
            assert not (folder / "modules.json").exists()
            names.add(folder.name)
        if edit in (None, of_no_layout):
            encoder = Path(with_layers(config, "embedding").student)
            assert (encoder / "modules.json").exists() == (edit is None)
        else:
            with pytest.raises(SpecError):
                with_layers(config, "embedding")
        shutil.rmtree(source)
    assert len(names) == 1
