"""Why a checkpoint cannot be loaded, on one line with what may be done.

A library's own words seldom say what a user can do. So the checkpoint's files are looked at first:
what lies there in place of the weights, whether they are whole, whether its configuration is one.
Only where nothing of that explains the failure are the library's words quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING, AutoConfig

from logitcache import hub
from logitcache.errors import SpecError, short
from logitcache.models.failure import AGAIN, Failure, own_words, read_object
from logitcache.models.folders import adapter, files_like, nested, no_config
from logitcache.models.gguf import is_gguf

PICKLE = re.compile(r"pytorch_model.*\.bin")
FLOATS = ("F64", "F32", "F16", "BF16", "C64")  # kinds of numbers, as safetensors calls them
UNROUNDED = "Give the checkpoint before it was quantised."
ORIGIN = "Give the checkpoint that it was made from."
TENSORFLOW = (
    "Convert it with transformers 4 and TensorFlow (from_pretrained(FOLDER, {option}=True).save_pretrained(OTHER)), or "
    "give weights in model.safetensors."
)
# Files that hold a model in another form: a pattern of their names, what that is, and what to do.
FORMS = (
    ("*.gguf", "weights of llama.cpp", "Name that file itself, not its folder."),
    ("tf_model*.h5", "weights of TensorFlow", TENSORFLOW.format(option="from_tf")),
    ("flax_model*.msgpack", "weights of Flax", TENSORFLOW.format(option="from_flax")),
    ("*.onnx", "an ONNX export", ORIGIN),
    ("openvino_model.xml", "an OpenVINO export", ORIGIN),
    ("rust_model.ot", "weights of rust-bert", ORIGIN),
    ("zero_to_fp32.py", "shards of DeepSpeed", "Run `python zero_to_fp32.py . . --safe_serialization` in it."),
    ("pytorch_model_fsdp*", "shards of FSDP", "Run `accelerate merge-weights` on that folder."),
    ("bert_model.ckpt*", "weights of TensorFlow 1", "Give a checkpoint that transformers saved."),
    ("*.ckpt", "a checkpoint of PyTorch Lightning", "Save the transformers model in it with save_pretrained."),
    ("config.cfg", "a pipeline of spaCy", "Give a checkpoint that transformers saved."),
    ("*.pt", "a pickle of PyTorch", "Load it where you trust it, and save its model with save_pretrained."),
    ("*.pth", "a pickle of PyTorch", "Load it where you trust it, and save its model with save_pretrained."),
)  # fmt: skip


Checks = tuple[Callable[[Failure], SpecError | None], ...]


def _a_file(failure: Failure) -> SpecError | None:
    if failure.folder.is_dir():
        return None
    if is_gguf(failure.path):
        return SpecError(own_words(failure.error), advice=f"Download it again. {ORIGIN}")
    return SpecError(
        expected="a folder",
        found="a file",
        advice=f"Give the folder that it lies in: {failure.folder.absolute().parent}",
    )


def _pointer(failure: Failure) -> SpecError | None:
    """A checkpoint that was cloned without its large files."""
    files = (failure.folder / name for name in failure.names)
    pointer = next((file for file in files if file.is_file() and hub.is_pointer(file)), None)
    return None if pointer is None else hub.pointer_in_place_of(pointer.name)


def _broken_link(failure: Failure) -> SpecError | None:
    """A snapshot of the hub's cache that was copied without the files that it links to."""
    files = (failure.folder / name for name in failure.names)
    broken = next((file for file in files if file.is_symlink() and not file.exists()), None)
    if broken is None:
        return None
    advice = "Copy the folder with what its links lead to (cp -rL), or download it again."
    return SpecError(
        expected=broken.name, found="a link to a file that is not there", advice=advice
    )


def _pickle(failure: Failure) -> SpecError | None:
    """Weights that are pickled alone."""
    pickles = sorted(name for name in failure.names if PICKLE.fullmatch(name))
    if not pickles or failure.weights:
        return None
    load = "AutoModelForSequenceClassification.from_pretrained"
    return SpecError(
        "opening one can run any code, so none is",
        expected="model.safetensors",
        found=f"{pickles[0]}, a pickle",
        advice=f"Convert it where you trust it: {load}({failure.path!r}, use_safetensors=False).save_pretrained(FOLDER)"
        ", its tokenizer too; then give that folder.",
    )


def _another_form(failure: Failure) -> SpecError | None:
    """A model, but not as transformers saves it."""
    if failure.weights:
        return None
    names = [*failure.names, *(file.name for file in files_like(failure, "onnx/*.onnx"))]
    for pattern, content, advice in FORMS:
        for name in names:
            if fnmatch(name, pattern):
                return SpecError(
                    expected="model.safetensors", found=f"{name}, {content}", advice=advice
                )
    return None


def _no_weights(failure: Failure) -> SpecError | None:
    if failure.weights or not failure.names:
        return None
    advice = "Save it with save_pretrained, or download its weights too."
    return SpecError(expected="model.safetensors", found="no weights", advice=advice)


def _shards(failure: Failure) -> SpecError | None:
    """Weights in several files, some of which are not there."""
    for name in failure.names:
        if not name.endswith(".safetensors.index.json"):
            continue
        shards = read_object(failure.folder / name).get("weight_map")
        if not isinstance(shards, dict):
            return SpecError(expected=f"a weight_map in {name}", found="none", advice=AGAIN)
        missing = sorted(set(map(str, shards.values())) - {*failure.names})
        if missing:
            expected = f"the files that {name} names"
            contents = f"{len(missing)} of them missing (first {missing[0]})"
            return SpecError(
                expected=expected, found=contents, advice="Copy or download them into the folder."
            )
    return None


def _damaged(failure: Failure) -> SpecError | None:
    """Weights that were cut, or are something else."""
    for name in failure.weights:
        try:
            with safe_open(failure.folder / name, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            contents = f"{name}, which is cut or damaged ({own_words(error)})"
            return SpecError(expected="weights in safetensors", found=contents, advice=AGAIN)
    return None


def refuse_integers(folder: Path) -> None:
    """Raises SpecError for weights that were rounded to a few bits while no configuration says how
    to undo that: they would be taken for the weights themselves. A damaged file is left to who
    loads it.
    """
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, "pt") as weights:
                kinds = {name: weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            continue
        for name, kind in kinds.items():
            if name.endswith(".weight") and not kind.startswith(FLOATS):
                contents = f"{name} in {kind}, and no quantization_config in config.json"
                raise SpecError(
                    expected="weights as real numbers",
                    found=contents,
                    advice=UNROUNDED,
                    where=folder,
                )


def _labels(failure: Failure) -> SpecError | None:
    """Names of columns that are not numbered."""
    names = failure.config.get("id2label")
    numbered = isinstance(names, dict) and all(str(number).isdecimal() for number in names)
    if names is None or numbered:
        return None
    expected = 'id2label as {"0": NAME, "1": NAME}'
    advice = "Correct id2label in its config.json."
    return SpecError(expected=expected, found=short(json.dumps(names)), advice=advice)


def _quantised(failure: Failure) -> SpecError | None:
    settings = failure.config.get("quantization_config")
    if not settings:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    advice = "Install what it needs, or give the checkpoint before it was quantised."
    return SpecError(
        f"it is quantised ({short(method)}): {own_words(failure.error)}", advice=advice
    )


def _another_kind(failure: Failure) -> SpecError | None:
    """A model of a kind that transformers does not know, or has no classifier of."""
    kind = failure.config.get("model_type")
    if "auto_map" in failure.config:
        return None
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        expected = f"a model_type that transformers {transformers.__version__} knows in config.json"
        contents = "none" if kind is None else short(repr(kind))
        return SpecError(
            expected=expected, found=contents, advice="Correct it, or upgrade transformers."
        )
    if failure.auto is None:
        return None
    if CONFIG_MAPPING[kind] in failure.auto._model_mapping:
        return None
    expected = f"a model with a form of {failure.auto.__name__}"
    advice = "Give a model that reads texts and was trained for this task, or another --task."
    return SpecError(expected=expected, found=f"one of type {kind}, which has none", advice=advice)


def _refused_config(failure: Failure) -> SpecError | None:
    """A configuration that transformers itself refuses."""
    try:
        AutoConfig.from_pretrained(failure.path, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a value of another kind leads to
        if hub.needs_own_code(error):
            return hub.own_code()
        value = _refused_value(failure.config)
        return _labels(failure) or SpecError(
            f"its config.json is refused: {value}{own_words(error)}",
            advice="Correct that value, or save it again.",
        )
    return None


def _refused_value(config: dict[str, Any]) -> str:
    """The value without which transformers takes a configuration; empty where no single one is."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return ""
    for name, value in config.items():
        rest = {other: config[other] for other in config if other != name}
        try:
            CONFIG_MAPPING[kind].from_dict(rest)
        except Exception:  # it is another value, or several are wrong
            continue
        return f"{name} {short(json.dumps(value))}: "
    return ""


def _piece_model(failure: Failure) -> SpecError | None:
    """A vocabulary that another package reads."""
    if find_spec("sentencepiece") is not None or "tokenizer.json" in failure.names:
        return None
    pieces = next((name for name in failure.names if name.endswith((".model", ".spm"))), None)
    if pieces is None:
        return None
    expected = "the package sentencepiece, which reads this vocabulary"
    return SpecError(
        expected=expected,
        found=f"{pieces} alone",
        advice="Install it: pip install sentencepiece protobuf.",
    )


def _tokenizer_files(failure: Failure) -> SpecError | None:
    """Files of a tokenizer that hold no JSON."""
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ):
        if name in failure.names:
            read_object(failure.folder / name)
    return None


BY_NAME: Checks = (adapter, _pickle, _another_form)  # of a checkpoint on the hub
OF_CONFIG: Checks = (
    _a_file,
    _pointer,
    _broken_link,
    nested,
    no_config,
    _labels,
    _another_kind,
    _refused_config,
)
OF_MODEL: Checks = (
    _a_file,
    _pointer,
    _broken_link,
    *BY_NAME,
    *OF_CONFIG,
    _no_weights,
    _shards,
    _damaged,
    _quantised,
)
OF_TOKENIZER: Checks = (
    _a_file,
    _pointer,
    _broken_link,
    _piece_model,
    _tokenizer_files,
    _refused_config,
)
