"""Checkpoints with one or two faults, as an editor, a script or a disk makes them: any value of
another type or size, keys gone, doubled or renamed, values of neighbours swapped, weights cut,
dropped or renamed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        3,
        7,
        33,
        1000,
        2**31,
        10**18,
        -(10**18),
        0.5,
        -0.5,
        1.5,
        1e308,
    ),
    *("", "x", "0", "neg", "[PAD]", "float16", "bert", "gpt2", "\ud83d\ude00", "a" * 5000),
    *(
        [],
        [None],
        [1, 2],
        ["neg", "pos"],
        {},
        {"0": "neg"},
        {"0": "pos", "1": "neg"},
        {"a": {"b": [1]}},
    ),
)
KEYS = (
    *(
        "num_labels",
        "id2label",
        "label2id",
        "problem_type",
        "model_type",
        "architectures",
        "hidden_size",
        "vocab_size",
    ),
    *(
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "pad_token_id",
        "type_vocab_size",
    ),
    *(
        "hidden_act",
        "is_decoder",
        "is_encoder_decoder",
        "quantization_config",
        "dtype",
        "attn_implementation",
    ),
    *(
        "auto_map",
        "rope_scaling",
        "tie_word_embeddings",
        "return_dict",
        "text_config",
        "classifier_dropout",
    ),
    *(
        "model_max_length",
        "tokenizer_class",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "pad_token",
    ),
    *(
        "unk_token",
        "extra_special_tokens",
        "additional_special_tokens",
        "added_tokens_decoder",
        "chat_template",
    ),
    *(
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "model",
        "added_tokens",
        "truncation",
        "padding",
    ),
)
FILES = (*("config.json",) * 5, *("tokenizer_config.json",) * 3, *("tokenizer.json",) * 2)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document; of long lists and tables the first few."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)[:40]
    elif isinstance(value, list):
        keys = list(range(min(len(value), 8)))
    else:
        return []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def change_at_random(draw: random.Random, document: dict[str, Any]) -> str:
    """One change of a document, and what it was."""
    container, key = draw.choice(_places(document) or [(document, draw.choice(KEYS))])
    how = draw.choice(("set", "set", "set", "drop", "swap", "rename", "add", "add", "number"))
    if how == "add" or not isinstance(container, dict):
        container, key = document, draw.choice(KEYS)
    if how == "drop":
        container.pop(key, None)
    elif how == "swap":
        other = draw.choice(list(container))
        container[key], container[other] = container.get(other), container.get(key)
    elif how == "rename":
        container[f"{key}_"] = container.pop(key, None)
    elif how == "number" and isinstance(container.get(key), int):
        container[key] = draw.choice(
            (-container[key], container[key] + 1, container[key] * 2, str(container[key]))
        )
    else:
        container[key] = draw.choice(VALUES)
    return f"{how} {key}"


def _edit(draw: random.Random, file: Path) -> str:
    """Bytes of a file of JSON changed: cut, emptied, one of them another, a key doubled."""
    data = bytearray(file.read_bytes())
    how = draw.choice(("cut", "empty", "byte", "twice"))
    if how == "cut":
        del data[draw.randrange(len(data)) :]
    elif how == "empty":
        data = bytearray()
    elif how == "byte":
        data[draw.randrange(len(data))] = draw.randrange(256)
    else:
        data = bytearray(
            b'{"num_labels": 7, "model_max_length": 3, ' + data.lstrip().removeprefix(b"{")
        )
    file.write_bytes(data)
    return f"{how} {file.name}"


def _weights(draw: random.Random, file: Path) -> str:
    how = draw.choice(("cut", "byte", "drop", "rename", "shape"))
    if how in ("cut", "byte"):
        data = bytearray(file.read_bytes())
        if how == "cut":
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(min(600, len(data)))] = draw.randrange(256)
        file.write_bytes(data)
        return f"{how} weights"
    try:
        weights = load_file(file)
    except SafetensorError:  # the first change has left none
        return "no weights"
    name = draw.choice(sorted(weights))
    tensor = weights.pop(name)
    if how == "rename":
        weights[
            draw.choice(
                (f"module.{name}", name.replace("weight", "gamma"), name.partition(".")[2] or "x")
            )
        ] = tensor
    elif how == "shape":
        weights[name] = tensor[:1].clone()
    save_file(weights, file, metadata={"format": "pt"})
    return f"{how} {name}"


def mutate(seed: int, folder: Path) -> str:
    """Change a checkpoint in its folder; what was done."""
    draw = random.Random(seed)
    done = []
    for _ in range(draw.choice((1, 1, 1, 2))):
        kind = draw.random()
        if kind < 0.1:
            done.append(_weights(draw, folder / "model.safetensors"))
            continue
        file = folder / draw.choice(FILES)
        if kind < 0.2:
            done.append(_edit(draw, file))
            continue
        try:
            document = json.loads(file.read_text("utf-8"))
        except ValueError:  # the first change has left none
            continue
        done.append(f"{file.name}: {change_at_random(draw, document)}")
        file.write_text(json.dumps(document))
    return "; ".join(done)
