"""A teacher that is asked: loaded once, in eval mode, its columns in the order of the data's labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from logitcache import identity
from logitcache.data import hub
from logitcache.data.collate import pad
from logitcache.data.files import sentence
from logitcache.data.own_code import code_digest
from logitcache.data.padding import Padding
from logitcache.data.prepare import Prepared, first_line, load_tokenizer
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.models.call import ModelFailed, ask
from logitcache.models.settings import check_problem, embeddings, pads_by_config, plain_outputs
from logitcache.records import Answers, Array, Dense, Float32, Int64
from logitcache.teacher.names import column_names


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` without its progress bars and remarks: what matters we say ourselves."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


GIVE_THAT = "then give that folder."
PICKLE = re.compile(r"pytorch_model.*\.bin")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class UntrainedHead(SpecError):
    """A checkpoint whose classification head was never trained: no teacher yet."""


# In a configuration, but no part of the arithmetic, or recorded elsewhere.
NOT_COMPUTED = {
    *("architectures", "dtype", "id2label", "label2id", "transformers_version", "auto_map"),
    *("problem_type", "use_cache", "output_attentions", "output_hidden_states", "return_dict"),
}


@dataclass(frozen=True)
class TeacherModel:
    """A sequence classifier and its tokenizer. ``padding`` is how its batches are made, ``order`` gives
    ``data_logits = own_logits[:, order]``; ``revision`` is the commit it was loaded from, where it came from the hub.
    """

    model: PreTrainedModel
    tokenizer: Any
    name: str
    dtype: str
    padding: Padding
    order: Int64 | None = None
    revision: str | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """Its own class names, in the order of its own columns."""
        return tuple(str(name) for _, name in sorted((self.model.config.id2label or {}).items()))

    @property
    def max_length(self) -> int:
        """The longest input it takes, in tokens."""
        return longest_input(self.model, self.tokenizer)

    @cached_property
    def parameters(self) -> int:
        """Parameters outside the embeddings: what a token costs two FLOPs of."""
        skip = {id(p) for m in self.model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
        return sum(p.numel() for p in self.model.parameters() if id(p) not in skip)

    def weights_digest(self) -> str:
        """Digest of every parameter and buffer as computed with, whatever files they came from."""
        return _digest(self.model.state_dict())

    def settings_digest(self) -> str:
        """Digest of what the weights are computed with: the configuration, without names, places and versions."""
        told = {k: v for k, v in self.model.config.to_dict().items() if k not in NOT_COMPUTED and not k.startswith("_")}
        return identity.digest_json(json.loads(json.dumps(told, default=str)))

    def arithmetic(self) -> dict[str, str]:
        """What the weights are computed with: the settings, and the checkpoint's own code where that runs."""
        code = code_digest(self.model, self.model.config)
        return {"settings": self.settings_digest(), **({} if code is None else {"code": code})}

    def logits(self, inputs: Mapping[str, Array]) -> torch.Tensor:
        """f32[B, K] on the model's device, columns in the data's order. No gradient, no dropout. Raises SpecError where
        the model's own code fails, except for want of memory.
        """
        try:
            with torch.inference_mode():
                logits = ask(self.model, inputs, self.padding)
        except SpecError as error:
            raise error.at(self.name) from error.__cause__
        return logits if self.order is None else logits[:, torch.from_numpy(self.order).to(logits.device)]

    def answers(self, rows: Prepared, places: Int64) -> torch.Tensor:
        """The logits of the rows at these places, asked in one batch: f32[B, K]."""
        try:
            return self.logits(pad(rows, places, self.padding))
        except ModelFailed as error:
            raise error.named(int(rows.row_id[places[error.row]])) from error.__cause__


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    return identity.digest_arrays((f"{name}:{t.dtype}", _bytes(t)) for name, t in sorted(state.items()))


def saved_digest(folder: Path, dtype: str) -> str | None:
    """The ``weights_digest`` that a saved model has in this precision, from its file alone; None where there is no such
    file. Where a model computes with more than it saves (tied weights), the digest is no model's.
    """
    try:
        state = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError):
        return None
    return _digest({name: t.to(DTYPES[dtype]) if t.is_floating_point() else t for name, t in state.items()})


def _bytes(tensor: torch.Tensor) -> Array:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8)


def load_teacher(
    path: str,
    dtype: str = "float32",
    device: str | None = None,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> TeacherModel:
    """Load a fine-tuned sequence classifier from a folder or the hub: safetensors only, in eval mode.

    ``revision`` is a hub checkpoint's branch, tag or commit. Code that a checkpoint brings runs only if
    ``trust_remote_code``. Raises UntrainedHead where the classification head was never trained, SpecError where there
    is no checkpoint or one that lacks weights of its body.
    """
    place = check_device(device)
    try:
        commit = hub.checkpoint(path, revision)
        with quiet():
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path,
                dtype=DTYPES[dtype],
                output_loading_info=True,
                **column_names(path, {} if commit is None else commit.settings()),
                **checkpoint_settings(commit, trust_remote_code),
            )
    except FingerprintMismatch:
        raise
    except hub.unreadable() as error:
        advice = "Give --teacher a folder that save_pretrained made, or a model's hub name."
        raise unloadable("teacher", path, error, advice, revision) from None
    if missing := fresh_weights(model, info, path):
        raise UntrainedHead(
            f"expected a trained classification head, found none in the checkpoint ({', '.join(missing[:3])}). "
            "`logitcache dump` fine-tunes it first (--finetune auto); or train it: "
            f"logitcache train --method base --student {path}",
            where=path,
        )
    check_problem(model.config, path)
    plain_outputs(model.config)
    sha = None if commit is None else commit.sha
    tokenizer = fit_tokenizer(load_tokenizer(path, sha, trust_remote_code), model, path)
    padding = pads_by_config(model, tokenizer)
    model.eval().to(place)
    name = Path(path).resolve().name if sha is None else path
    return TeacherModel(model, tokenizer, name, dtype, padding, revision=sha)


def fresh_weights(model: PreTrainedModel, info: Mapping[str, Any], path: str) -> list[str]:
    """Names of the head's weights that a checkpoint lacks or has in another shape: `transformers` has drawn them.

    ``info`` is what loading told. Raises SpecError where the body lacks any: a head can be trained, but a body with
    random weights in it is no longer what its name says, and nothing else would tell. A pooler counts as head:
    checkpoints of masked language models have none.
    """
    fresh = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    prefix = model.base_model_prefix
    body = [name for name in fresh if prefix and name.startswith(f"{prefix}.") and "pooler" not in name.split(".")]
    if body:
        raise SpecError(
            f"expected a whole checkpoint, found one that lacks {len(body)} weights of its body (first {body[0]}), or "
            "has them in another shape. Save or download it again.",
            where=path,
        )
    return fresh


def checkpoint_settings(commit: hub.Commit | None, trust_remote_code: bool) -> dict[str, Any]:
    """How `transformers` is to read any checkpoint: no pickle is opened, and with a commit named it asks nobody on the
    hub to convert one.
    """
    return {
        **({} if commit is None else commit.settings()),
        "use_safetensors": True,
        "trust_remote_code": trust_remote_code,
        "ignore_mismatched_sizes": True,  # a head of another shape is refused or made anew, by name
    }


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(name: str | None) -> torch.device:
    """The device of that name; None is the default. Raises SpecError where this machine has none."""
    name = name or default_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # torch has no kind of error of its own for this
        advice = f"Leave --device out, or name one this machine has, such as {default_device()}."
        raise SpecError(f"--device: {name!r} cannot be used: {sentence(first_line(error))} {advice}") from None
    return device


def unloadable(what: str, path: str, error: BaseException, advice: str, revision: str | None = None) -> SpecError:
    """The error, to be raised, over a checkpoint of a teacher or a student that cannot be loaded."""
    said = _pickle(path, error, revision) or reason(path, error)
    told = said.endswith((GIVE_THAT, hub.OWN_CODE)) or hub.on_hub(path)  # what to do
    return SpecError(f"no {what} can be loaded: {sentence(said)}{'' if told else f' {advice}'}", where=path)


def reason(path: str, error: BaseException) -> str:
    """Why a checkpoint cannot be loaded, on one line."""
    said = hub.why(path, error)
    if Path(path).exists():
        return said
    return f"there is no such folder; as a hub name: {said}" if hub.on_hub(path) else "there is no such folder."


def _pickle(path: str, error: BaseException, revision: str | None) -> str:
    """What to do with a checkpoint whose weights are pickled alone; empty where that is not the matter."""
    remote = hub.on_hub(path)
    if not isinstance(error, OSError) or (remote and hub.explain(path, error, "model")):
        return ""
    names = hub.files(path, revision) if remote else [file.name for file in Path(path).glob("*")]
    found = sorted(name for name in names if PICKLE.fullmatch(name))
    if not found or any(name.endswith(".safetensors") for name in names):
        return ""
    load = "AutoModelForSequenceClassification.from_pretrained"
    return (
        f"expected model.safetensors, found {found[0]}, a pickle: opening one can run any code, so none is. "
        f"Convert it where you trust it: {load}({path!r}, use_safetensors=False).save_pretrained(FOLDER), its "
        f"tokenizer too; {GIVE_THAT}"
    )


def fit_tokenizer(tokenizer: Any, model: PreTrainedModel, where: str) -> Any:
    """The tokenizer, made sure to be one this model can use.

    Raises SpecError for an empty tokenizer (what `transformers` makes of a checkpoint without one: every text would
    read the same) and for one with more tokens than the model has embeddings.
    """
    if _is_empty(tokenizer):
        raise SpecError(
            "expected a tokenizer, found none in the checkpoint. Save it there with tokenizer.save_pretrained.",
            where=where,
        )
    limit = embeddings(model, len(tokenizer))
    if len(tokenizer) > limit:
        sizes = f"expected a tokenizer of at most {limit} tokens, found {len(tokenizer)}."
        raise SpecError(f"{sizes} Use the one the model was made with.", where=where)
    return tokenizer


def _is_empty(tokenizer: Any) -> bool:
    """Whether it knows no token but special ones. The vocabulary is looked at last: CANINE's takes seconds."""
    tokens = tokenizer(["a 1"], add_special_tokens=False)["input_ids"][0]
    if not set(tokens) <= set(tokenizer.all_special_ids):
        return False
    return set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens)


def longest_input(model: PreTrainedModel, tokenizer: Any) -> int:
    """The longest input both take, in tokens."""
    limit = int(min(tokenizer.model_max_length, 2**31 - 1))
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return limit
    tables = (m for name, m in model.named_modules() if name.endswith("position_embeddings"))
    # RoBERTa and its kin count positions from behind the padding token's: 514 of them are 512 tokens
    first = max((m.padding_idx + 1 for m in tables if getattr(m, "padding_idx", None) is not None), default=0)
    return min(limit, positions - first)


@dataclass(frozen=True)
class LiveTeacher:
    """The teacher in the loop: answers as a cache does, but by a forward pass each time. The parity tests and the
    benchmark's baseline.
    """

    teacher: TeacherModel
    rows: Prepared  # tokenised by the teacher's tokenizer; row i is row_id i

    def take(self, row_id: Int64) -> Answers:
        logits: Float32 = self.teacher.answers(self.rows, row_id).cpu().numpy()
        counts = np.ones(len(row_id), np.int64)
        return Answers(self.rows.row_hash[row_id], counts, Dense(logits - logits.max(1, keepdims=True)))
