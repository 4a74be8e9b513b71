"""Models to be timed: of a checkpoint, or of an architecture with random weights (as fast)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
import transformers
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from logitcache.config.bench import DumpBenchConfig, WorkloadConfig
from logitcache.config.shapes import is_shape, parse_shape
from logitcache.cost.flops import shape_of
from logitcache.data.tasks.classification import Classification
from logitcache.data.tasks.language import LanguageModel
from logitcache.models.causes import OF_CONFIG
from logitcache.models.load import DTYPES, UntrainedHead, load_tokenizer
from logitcache.models.loading import loading
from logitcache.models.quiet import quiet
from logitcache.records import Padding
from logitcache.reporter import Reporter
from logitcache.student.model import build_student, llama_config
from logitcache.teacher.model import TeacherModel, load_teacher

Config: TypeAlias = WorkloadConfig | DumpBenchConfig
ADVICE = "Give a folder with config.json, a hub name, LAYERSxWIDTH, or one of: "
VOCABULARY = 8000  # of shapes, as `train` learns it
LONGEST = 4096  # tokens that a language model of random weights takes, where it is a shape
_BERT = {"vocab_size": 30522, "max_position_embeddings": 512}
_ROBERTA = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
_ROBERTA |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_GPT2 = {"pad_token_id": 50256}


def _encoder(layers: int, width: int, heads: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


# The published shapes of the checkpoints that the papers use, so that they can be timed without a
# network.
KNOWN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "roberta-large": ("roberta", _ROBERTA | _encoder(24, 1024, 16)),
    "roberta-base": ("roberta", _ROBERTA | _encoder(12, 768, 12)),
    "distilroberta-base": ("roberta", _ROBERTA | _encoder(6, 768, 12)),
    "bert-large-uncased": ("bert", _BERT | _encoder(24, 1024, 16)),
    "bert-base-uncased": ("bert", _BERT | _encoder(12, 768, 12)),
    "bert-small": ("bert", _BERT | _encoder(4, 512, 8)),
    "gpt2": ("gpt2", _GPT2),
    "distilgpt2": ("gpt2", _GPT2 | {"n_layer": 6}),
}


def config_of(
    name: str,
    vocabulary: int = VOCABULARY,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedConfig:
    """The architecture of a name: LAYERSxWIDTH with a vocabulary of that size, a folder with
    config.json, a well-known one, or the hub's.

    Raises SpecError where there is none.
    """
    if is_shape(name):
        layers, width, heads = parse_shape(name)
        sizes = {"vocab_size": vocabulary, "max_position_embeddings": 512}
        return AutoConfig.for_model("bert", **sizes, **_encoder(layers, width, heads))
    short_name = name.split("/")[-1]
    if short_name in KNOWN and not Path(name).exists():
        kind, sizes = KNOWN[short_name]
        return AutoConfig.for_model(kind, **sizes)
    with loading("architecture", name, f"{ADVICE}{', '.join(KNOWN)}.", checks=OF_CONFIG):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    return config


def random_model(
    config: PreTrainedConfig, num_labels: int, seed: int = 0, *, trust_remote_code: bool = False
) -> PreTrainedModel:
    """A classifier of that architecture with fresh weights, in single precision."""
    transformers.set_seed(seed)
    config.num_labels = num_labels
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        config, dtype=torch.float32, trust_remote_code=trust_remote_code
    )
    return model


def drawn_language_model(
    name: str, kind: type[LanguageModel], vocabulary: int, seed: int
) -> PreTrainedModel:
    """A model of an architecture with fresh weights, in single precision."""
    transformers.set_seed(seed)
    auto = getattr(transformers, kind.auto_model)
    if is_shape(name) and kind.views_are_draws:
        config = llama_config(name, vocabulary, LONGEST)
    else:
        config = config_of(name, vocabulary)
    model: PreTrainedModel = auto.from_config(config, dtype=torch.float32)
    return model


def model_figures(name: str, model: nn.Module) -> dict[str, Any]:
    """A model in the setting of a document."""
    shape = shape_of(model)
    return {"name": name, "parameters": shape.parameters, "embedding_parameters": shape.embeddings}


def counted_flops(call: Callable[[], object]) -> float:
    """FLOPs of a call by torch's counter, which misses inference mode and some fused attention."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def as_teacher(model: PreTrainedModel, tokenizer: Any, config: Config, device: str) -> TeacherModel:
    """A model with random weights, or a random head, as a teacher."""
    model.requires_grad_(False)
    nn.Module.to(nn.Module.eval(model), torch.device(device), DTYPES[config.dtype])
    folder = Path(config.teacher)
    name = folder.resolve().name if folder.exists() else config.teacher
    return TeacherModel(model, tokenizer, name, config.dtype, Padding.of(tokenizer))


def untrained_teacher(
    config: Config,
    init: str,
    task: Classification,
    tokenizer: Any,
    length: int,
    device: str,
    **options: Any,
) -> TeacherModel:
    """A teacher with a random head on a checkpoint's body, or (``init`` random) all random."""
    with quiet():
        model = build_student(config.teacher, init, task, tokenizer, length, config.seed, **options)
    teacher = as_teacher(model, tokenizer, config, device)
    return replace(teacher, kind=type(task), width=task.width(tokenizer))


def teacher_of(
    config: Config,
    task: Classification | type[LanguageModel],
    length: int,
    device: str,
    reporter: Reporter,
    *,
    tokenizer: str | None = None,
) -> tuple[TeacherModel, bool]:
    """The teacher of a checkpoint, and whether its head is random, as none was trained.

    A kind of language model is a task of the tokenizer's vocabulary. ``tokenizer`` names another
    than the checkpoint's own.
    """
    kind = task if isinstance(task, type) else type(task)
    options: Any = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    try:
        teacher = load_teacher(
            config.teacher, config.dtype, device, kind=kind, tokenizer=tokenizer, **options
        )
        return teacher, False
    except UntrainedHead:
        reporter.note(f"teacher: {config.teacher} has no trained head: a random one is timed")
    loaded = load_tokenizer(tokenizer or config.teacher, **options)
    if isinstance(task, type):
        task = task(task.width(loaded) or 0, None)
    teacher = untrained_teacher(config, "pretrained", task, loaded, length, device, **options)
    return teacher, True
