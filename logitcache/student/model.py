"""The student to be trained: a checkpoint, an architecture with fresh weights, or a small BERT."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, BertConfig, MegatronBertConfig, PreTrainedModel

from logitcache import hub, identity
from logitcache.config.own import is_own
from logitcache.config.shapes import check_norm, is_shape, parse_shape
from logitcache.data.source import Rows
from logitcache.data.tasks.classification import Classification
from logitcache.models.causal import check_causal
from logitcache.models.gguf import location, unpacked
from logitcache.models.load import (
    checkpoint_settings,
    fit_tokenizer,
    fresh_weights,
    load_tokenizer,
    longest_input,
)
from logitcache.models.loading import loading, saving
from logitcache.models.own import OwnConfig, OwnStudent
from logitcache.models.problem import SINGLE_LABEL
from logitcache.models.sentence import auto_class, save_model
from logitcache.models.settings import (
    agree_on_pad_token,
    make_room_for_pad_token,
    plain_outputs,
    single_precision,
)
from logitcache.models.vocabulary import build_tokenizer
from logitcache.reporter import SILENT, Reporter
from logitcache.store.files import sync_file

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
ADVICE = "Give --student a checkpoint's folder or hub name, or a shape such as 2x128."


def commit_of(student: str, revision: str | None) -> str | None:
    """The commit that a student on the hub is loaded at; None for a shape, or a checkpoint on this
    machine. Raises SpecError where the hub has none.
    """
    if is_shape(student) or is_own(student):
        return None
    with loading("student", student, ADVICE, revision):
        commit = hub.checkpoint(student, revision)
    return None if commit is None else commit.sha


def student_tokenizer(
    student: str,
    tokenizer: str | None,
    rows: Rows,
    vocabulary: int,
    max_length: int,
    folder: Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    reporter: Reporter = SILENT,
) -> Any:
    """The named tokenizer, the checkpoint's own (at the student's ``revision``), or (for a shape) a
    WordPiece vocabulary learnt from these rows and kept in ``folder``.
    """
    if tokenizer is not None:
        return load_tokenizer(tokenizer, trust_remote_code=trust_remote_code)
    if not is_shape(student) and not is_own(student):
        what = "tokenizer" if Path(student).exists() else "student"
        return load_tokenizer(student, revision, trust_remote_code, what)
    texts, pairs = rows.texts()
    name = identity.digest_json([rows.digest(), vocabulary, max_length])[:12]
    return build_tokenizer(texts + (pairs or []), vocabulary, max_length, folder / name, reporter)


def lacks_tokenizer(student: str) -> bool:
    """Whether a student is a shape, one of the user's own, or a folder without a tokenizer."""
    if is_shape(student) or is_own(student):
        return True
    folder = Path(student)
    return folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZER_FILES)


def build_student(
    student: str,
    init: str,
    task: Classification,
    tokenizer: Any,
    max_length: int,
    seed: int,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    norm: str | None = None,
) -> PreTrainedModel:
    """The student with a head of K classes that knows their names. The seed decides fresh weights.

    ``revision`` is a hub checkpoint's branch, tag or commit; code that it brings runs only if
    ``trust_remote_code``. ``norm`` is where layers are normalised, pre or post. Raises SpecError
    for a shape that cannot be, a checkpoint that cannot be loaded, or one with another norm.
    """
    labels = task.head_settings()
    auto = auto_class(task.auto_model)
    transformers.set_seed(seed)
    with loading("student", student, ADVICE, revision, auto):
        if is_shape(student):
            model = _fresh(auto, _shape_config(student, auto, tokenizer, max_length, labels, norm))
        elif is_own(student):
            labels = {"pad_token_id": tokenizer.pad_token_id, **labels}
            words = len(tokenizer)
            own = OwnConfig(student, words, task.num_labels, task.per_token, **labels)
            model = OwnStudent(own)
            model.float()
        else:
            model = _from_checkpoint(auto, student, init, labels, revision, trust_remote_code)
        check_norm(norm, model.config.model_type)
        make_room_for_pad_token(model, tokenizer)
        fit_tokenizer(tokenizer, model, student)
        plain_outputs(model.config)
        if task.ends_rows:
            agree_on_pad_token(model, tokenizer)
        check_causal(model, auto, student)
    check_saving(model, tokenizer, student)
    return model


def _fresh(auto: Any, config: Any, trust_remote_code: bool = False) -> PreTrainedModel:
    """Fresh weights in single precision, whatever precision the configuration names."""
    single_precision(config)
    model: PreTrainedModel = auto.from_config(
        config, dtype=torch.float32, trust_remote_code=trust_remote_code
    )
    model.float()
    return model


def _from_checkpoint(
    auto: Any,
    student: str,
    init: str,
    labels: dict[str, Any],
    revision: str | None,
    trust_remote_code: bool,
) -> PreTrainedModel:
    """A checkpoint's weights (a head for other labels is made anew), or fresh ones.

    Raises SpecError where it lacks weights of its body, and whatever a library raises.
    """
    commit = hub.checkpoint(student, revision)
    at = {} if commit is None else commit.settings()
    folder, of_file = location(student)
    config = AutoConfig.from_pretrained(
        folder, trust_remote_code=trust_remote_code, **of_file, **at
    )
    problem = config.problem_type
    if init == "random":
        for name, value in labels.items():
            setattr(config, name, value)
        return _fresh(auto, config, trust_remote_code)
    settings = checkpoint_settings(commit, trust_remote_code)
    model: PreTrainedModel
    model, info = auto.from_pretrained(
        folder, dtype="float32", output_loading_info=True, **unpacked(of_file), **settings, **labels
    )
    model.float()
    fresh_weights(model, info, student)  # a fresh head is as it should be
    if problem not in (None, SINGLE_LABEL):  # its head was trained for another kind of problem
        prefix = f"{model.base_model_prefix}."
        head = {}
        for name, tensor in type(model)(model.config).state_dict().items():
            if not name.startswith(prefix):
                head[name] = tensor
        model.load_state_dict(head, strict=False)
    return model


def _shape_config(
    student: str,
    auto: Any,
    tokenizer: Any,
    max_length: int,
    labels: dict[str, Any],
    norm: str | None = None,
) -> Any:
    """The configuration of a small BERT (``norm`` pre: a MegatronBERT), or a causal small Llama."""
    if auto is transformers.AutoModelForCausalLM:
        return llama_config(
            student,
            len(tokenizer),
            max(max_length, 64),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    layers, width, heads = parse_shape(student)
    kind = MegatronBertConfig if norm == "pre" else BertConfig
    return kind(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=max(max_length, 64),
        **labels,
    )


def llama_config(shape: str, vocabulary: int, positions: int, **settings: Any) -> Any:
    """The configuration of a small Llama."""
    layers, width, heads = parse_shape(shape)
    return transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        **settings,
    )


def check_saving(model: PreTrainedModel, tokenizer: Any, name: str) -> None:
    """Raises SpecError if configuration or tokenizer cannot be saved: before the training."""
    with tempfile.TemporaryDirectory() as folder, saving(name, Path(folder)):
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if isinstance(model, OwnStudent):  # weights that are shared may not be saved as they are
            model.save_pretrained(folder)
        if model.can_generate() and model.generation_config is not None:
            model.generation_config.save_pretrained(folder)


def save(student: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    """A finished student as `transformers` loads it, readable as the umask says.

    The tokenizer is saved with the longest input that the student takes, so that ``pipeline(...,
    truncation=True)`` takes any text.
    """
    tokenizer.model_max_length = longest_input(student, tokenizer)
    with saving(str(folder), folder):
        save_model(student, folder)
        tokenizer.save_pretrained(folder)
    os.umask(umask := os.umask(0))
    for path in folder.glob("model*.safetensors"):
        path.chmod(0o666 & ~umask)
        sync_file(path)
