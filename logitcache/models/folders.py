"""Folders that hold no model, told by the names of their files. No torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from logitcache.errors import SpecError
from logitcache.models.failure import Failure, read_object

_ADAPTER = "adapter_config.json"
_AUTO_MODELS = {  # of peft, by the task of an adapter
    "CAUSAL_LM": "AutoPeftModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoPeftModelForSeq2SeqLM",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "FEATURE_EXTRACTION": "AutoPeftModelForFeatureExtraction",
}


def adapter(failure: Failure) -> SpecError | None:
    """An adapter without the model that it adapts."""
    is_whole = bool(failure.weights) and "config.json" in failure.names
    if _ADAPTER not in failure.names or is_whole:
        return None
    return an_adapter(failure.folder)


def an_adapter(folder: Path, remark: str = "") -> SpecError:
    """The error over an adapter in place of a model, without its place."""
    config = _adapter_config(folder)
    task = config.get("task_type")
    auto_model = _AUTO_MODELS.get(str(task), "AutoPeftModelForSequenceClassification")
    source = str(folder)
    has_tokenizer = (folder / "tokenizer_config.json").is_file()
    tokenizer = source if has_tokenizer else config.get("base_model_name_or_path", source)
    command = (
        "import peft, transformers; "
        f"peft.{auto_model}.from_pretrained({source!r}).merge_and_unload().save_pretrained('FOLDER'); "
        f"transformers.AutoTokenizer.from_pretrained({tokenizer!r}).save_pretrained('FOLDER')"
    )
    return SpecError(
        remark,
        expected="a whole model",
        found=f"an adapter ({_ADAPTER}{f', task_type {task}' if task else ''})",
        advice=f'Merge it into its model with peft: python -c "{command}"; then give FOLDER.',
    )


def _adapter_config(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself; nothing where that cannot be read."""
    path = folder / _ADAPTER
    try:
        return read_object(path) if path.is_file() else {}
    except SpecError:
        return {}


def nested(failure: Failure) -> SpecError | None:
    """A folder above the checkpoint: a Trainer's, a repository's in the hub's cache, and so on."""
    if "config.json" in failure.names:
        return None
    files = [*files_like(failure, "*/config.json"), *files_like(failure, "snapshots/*/config.json")]
    folders = {file.parent for file in files}
    if not folders:
        return None
    newest = max(folders, key=lambda folder: list(map(int, re.findall(r"\d+", folder.name))))
    return SpecError(
        expected="config.json",
        found=f"one in {newest.name} alone",
        advice=f"Give that folder: {newest}",
    )


def files_like(failure: Failure, pattern: str) -> list[Path]:
    """Files of the folder whose paths are like this pattern, sorted."""
    return sorted(failure.folder.glob(pattern))


def no_config(failure: Failure) -> SpecError | None:
    """A folder of something else."""
    if "config.json" in failure.names:
        return None
    contents = f"none among {', '.join(failure.names[:3])}" if failure.names else "an empty folder"
    return SpecError(expected="config.json", found=contents)


def fault_of(folder: Path) -> SpecError | None:
    """Why the files of a folder are no model's: an error without its place; None for others."""
    names = sorted(path.name for path in folder.iterdir())
    failure = Failure(str(folder), names, FileNotFoundError())
    for check in (adapter, nested, no_config):
        cause = check(failure)
        if cause is not None:
            return cause
    return None
