"""Sentence encoders as `sentence-transformers` writes them, and a reader of its own for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

PACKAGE = "sentence_transformers.models"


def write_encoder(
    body: Path,
    folder: Path,
    pooling: str = "mean_tokens",
    *,
    dense: int = 0,
    normalises: bool = True,
) -> Path:
    """A body with a layout, ``dense`` being the width of a map behind its pooling (0: none)."""
    model = transformers.AutoModel.from_pretrained(body)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(body).save_pretrained(folder)
    width = model.config.hidden_size
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    files: dict[str, Any] = {}
    files["1_Pooling/config.json"] = {
        "word_embedding_dimension": width, f"pooling_mode_{pooling}": True,
        "pooling_mode_lasttoken": False,
    }  # fmt: skip
    if dense:
        modules.append(("Dense", "2_Dense"))
        files["2_Dense/config.json"] = {
            "in_features": width, "out_features": dense, "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }  # fmt: skip
        torch.manual_seed(1)
        linear = torch.nn.Linear(width, dense)
        (folder / "2_Dense").mkdir()
        save_file({f"linear.{name}": one.data for name, one in linear.named_parameters()},
                  folder / "2_Dense" / "model.safetensors")  # fmt: skip
    if normalises:
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
    files["modules.json"] = [
        {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.{kind}"}
        for i, (kind, path) in enumerate(modules)
    ]
    files["config_sentence_transformers.json"] = {"prompts": {}, "default_prompt_name": None}
    files["sentence_bert_config.json"] = {"max_seq_length": 48, "do_lower_case": False}
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


def read_vectors(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """The vectors f32[N, d] of a folder of sentence-transformers, each text alone."""
    body = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    modules = json.loads((folder / "modules.json").read_text())
    assert [module["path"] for module in modules[:2]] == ["", "1_Pooling"]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    vectors = []
    with torch.no_grad():
        for text in texts:
            hidden = body(**tokenizer(text, return_tensors="pt", truncation=True))[0][0]
            vector = hidden.mean(0) if pooling.get("pooling_mode_mean_tokens") else hidden[0]
            for module in modules[2:]:
                kind = module["type"].removeprefix(f"{PACKAGE}.")
                if kind == "Normalize":
                    vector = vector / vector.norm()
                    continue
                assert kind == "Dense"
                config = json.loads((folder / module["path"] / "config.json").read_text())
                state = load_file(folder / module["path"] / "model.safetensors")
                vector = state["linear.weight"] @ vector + state.get("linear.bias", 0)
                if config["activation_function"].endswith("Tanh"):
                    vector = vector.tanh()
            vectors.append(vector.numpy())
    return np.stack(vectors)
