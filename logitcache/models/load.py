"""Checkpoints in, for teacher and student: device and precision, what is missing, the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel

from logitcache import hub
from logitcache.errors import SpecError, short
from logitcache.hub import first_line
from logitcache.models.causes import OF_TOKENIZER
from logitcache.models.gguf import location
from logitcache.models.loading import loading
from logitcache.models.settings import embeddings

NUMBER = re.compile(r"\d+")  # of a layer, in the name of a weight
KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
RESAVE = "Save it there again with tokenizer.save_pretrained, or copy there the tokenizer's files of its origin."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class UntrainedHead(SpecError):
    """A checkpoint whose classification head was never trained: no teacher yet."""


def fresh_weights(model: PreTrainedModel, info: Mapping[str, Any], path: str) -> list[str]:
    """Names of the head's weights that a checkpoint lacks or has in another shape: `transformers`
    has drawn them.

    ``info`` is what loading told. Raises SpecError where the body lacks any: a head can be trained,
    but a body with random weights in it is no longer what its name says, and nothing else would
    tell. A pooler counts as head: checkpoints of masked language models have none.
    """
    fresh = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    prefix = model.base_model_prefix
    body = []
    for name in fresh:
        if prefix and name.startswith(f"{prefix}.") and "pooler" not in name.split("."):
            body.append(name)
    if body:
        for stored in info["unexpected_keys"]:
            if stored.endswith(f".{body[0]}"):  # as DataParallel and torch.compile store it
                wrapper = stored.removesuffix(f".{body[0]}")
                raise SpecError(
                    expected=f"weights called {body[0]}, ...",
                    found=f"{stored}: those of a model inside another one",
                    advice=f"Save the inner one: model.{wrapper}.save_pretrained(FOLDER).",
                    where=path,
                )
        raise SpecError(
            expected="a whole checkpoint",
            found=f"one that lacks {len(body)} weights of its body (first {body[0]}), or has them in another shape",
            advice="Save or download it again.",
            where=path,
        )
    return fresh


def check_whole(model: PreTrainedModel, info: Mapping[str, Any], path: str) -> None:
    """Raises SpecError where the weights of a teacher and its configuration are of two models: a
    head of another number of columns, or more layers than are used.
    """
    used = {NUMBER.sub("#", name) for name in model.state_dict()}
    surplus = sorted(name for name in info["unexpected_keys"] if NUMBER.sub("#", name) in used)
    mismatched = sorted(info["mismatched_keys"])
    if mismatched:
        name, stored, expected = mismatched[0]
        contents = f"{name} of shape {list(stored)}, where its config.json says {list(expected)}"
        advice = "Correct id2label in its config.json: one name for each column."
    elif surplus and not info["missing_keys"]:  # of a body alone some layers may be taken
        contents = f"{len(surplus)} weights of more layers than are used (first {surplus[0]})"
        advice = "Correct the number of layers in its config.json."
    else:
        return
    raise SpecError(
        expected="weights of the model in config.json",
        found=contents,
        advice=advice,
        where=path,
    )


def checkpoint_settings(commit: hub.Commit | None, trust_remote_code: bool) -> dict[str, Any]:
    """How `transformers` is to read any checkpoint: no pickle is opened, and with a commit named it
    asks nobody on the hub to convert one.
    """
    settings = {
        "use_safetensors": True,
        "trust_remote_code": trust_remote_code,
        "ignore_mismatched_sizes": True,  # a head of another shape is refused or made anew, by name
    }
    if commit is not None:
        settings |= commit.settings()
    return settings


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(name: str | None) -> torch.device:
    """The device of that name; None is the default. Raises SpecError where this machine has none."""
    name = name or default_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # torch has no kind of error of its own for this
        advice = f"Leave --device out, or name one this machine has, such as {default_device()}."
        raise SpecError(
            f"{name!r} cannot be used: {first_line(error)}", advice=advice, where="--device"
        ) from None
    return device


def fit_tokenizer(tokenizer: Any, model: PreTrainedModel, where: str) -> Any:
    """The tokenizer, made sure to be one this model can use.

    Raises SpecError for an empty tokenizer (what `transformers` makes of a checkpoint without one:
    every text would read the same), for one with more tokens than the model has embeddings, and
    where no text fits between its special tokens.
    """
    if _is_empty(tokenizer):
        size = len(tokenizer.get_vocab())
        raise SpecError(
            expected="a tokenizer that knows words",
            found=f"one of {size} special tokens alone, as is made of a checkpoint without its vocabulary",
            advice="Save it there with tokenizer.save_pretrained.",
            where=where,
        )
    limit = embeddings(model, len(tokenizer))
    if len(tokenizer) > limit:
        raise SpecError(
            expected=f"a tokenizer of at most {limit} tokens",
            found=len(tokenizer),
            advice="Use the one the model was made with.",
            where=where,
        )
    longest = longest_input(model, tokenizer)
    special = tokenizer.num_special_tokens_to_add()
    if longest <= special:
        raise SpecError(
            expected=f"room for a text beside {special} special tokens",
            found=f"a longest input of {longest} tokens",
            advice="Correct model_max_length in tokenizer_config.json, or max_position_embeddings in config.json.",
            where=where,
        )
    return tokenizer


def _is_empty(tokenizer: Any) -> bool:
    """Whether it knows only special tokens. The vocabulary comes last: CANINE's takes seconds."""
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
    # RoBERTa and its kin count positions from behind the padding token's: 514 of them are 512
    # tokens
    first = 0
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            first = max(first, padding + 1)
    return min(limit, positions - first)


def load_tokenizer(
    path: str,
    revision: str | None = None,
    trust_remote_code: bool = False,
    what: str = "tokenizer",
    advice: str = RESAVE,
) -> Any:
    """The tokenizer of a checkpoint, with a padding token (another special one where it lacks one).

    Raises SpecError where there is none, where it brings code of its own and is not trusted to run
    it, or where it asks for inputs that are not known here. It says that no ``what`` can be loaded.
    """
    with loading(what, path, RESAVE, revision, checks=OF_TOKENIZER):
        commit = hub.checkpoint(path, revision)
        settings = {} if commit is None else commit.settings()
        folder, of_file = location(path)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, **of_file, **settings
        )
        if not trust_remote_code and _stands_in(tokenizer):
            raise hub.own_code()
        unknown = _inputs(tokenizer, path) - set(KNOWN_INPUTS)
        if unknown:
            raise SpecError(
                expected=f"a tokenizer that gives {', '.join(KNOWN_INPUTS)}",
                found=f"one that gives {', '.join(sorted(unknown))} too",
                advice="Use a model of plain text.",
                where=path,
            )
        _name_pad_token(tokenizer, path)
    return tokenizer


def _name_pad_token(tokenizer: Any, path: str) -> None:
    """Give the tokenizer a padding token if it lacks one. Raises SpecError if none can serve."""
    if tokenizer.pad_token is not None:
        return
    candidates = (tokenizer.eos_token, tokenizer.unk_token, *tokenizer.all_special_tokens)
    substitute = next((token for token in candidates if token is not None), None)
    if substitute is None:
        expected = "a tokenizer with a special token to pad with"
        raise SpecError(expected=expected, found="none", advice="Give it a pad_token.", where=path)
    tokenizer.pad_token = substitute


def _inputs(tokenizer: Any, path: str) -> set[str]:
    """Names of what the tokenizer makes of texts. Raises SpecError where it cannot read texts."""
    try:
        return {*tokenizer.model_input_names, *tokenizer(["a"]), *tokenizer(["a"], ["b"])}
    except Exception as error:  # whatever a tokenizer of tables or pages raises
        own = f"{type(error).__name__}: {short(first_line(error)).rstrip('.')}"
        raise SpecError(
            expected="a tokenizer that reads texts",
            found=f"{type(tokenizer).__name__}, which fails on one ({own})",
            advice="Use a model of plain text.",
            where=path,
        ) from error


def _stands_in(tokenizer: Any) -> bool:
    """Whether a checkpoint names a tokenizer class of its own: where its code may not run,
    `transformers` quietly takes another that may cut texts otherwise.
    """
    import transformers

    own_classes = tokenizer.init_kwargs.get("auto_map", {}).get("AutoTokenizer") or ()
    if isinstance(own_classes, str):
        own_classes = [own_classes]
    classes = [name.split(".")[-1] for name in own_classes if name]
    return any(not hasattr(transformers, name) for name in classes)
