"""What the files of a checkpoint say of it, read without torch and transformers: classes, problem,
lengths, tokenizer.

So a command can refuse what does not fit, or count tokens, in milliseconds. What is decided here is
what loading would decide; where the files do not tell, nothing is decided.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from logitcache import hub
from logitcache.data.tasks.classification import Classification
from logitcache.errors import FormatError, SpecError
from logitcache.models.class_names import names_in
from logitcache.models.problem import check_counts, check_problem
from logitcache.store.json_files import read_json

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = "model.safetensors"
MAX_HEADER = 100 << 20  # bytes: the limit of the format


@dataclass(frozen=True)
class Described:
    """A checkpoint's folder. ``name`` is what the user calls it."""

    name: str
    folder: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its config.json; empty where that cannot be read."""
        return _read(self.folder / CONFIG)

    def is_trained_as(self, kind: type[Classification]) -> bool:
        """Whether it surely has a trained head for this task, so that it is asked as it is: its
        configuration names the architecture, and a matrix outside the body has one row a class.
        """
        suffix = kind.auto_model.removeprefix("Auto").removeprefix("ModelFor")
        architectures = self.config.get("architectures")
        if not isinstance(architectures, list):
            return False
        if not any(str(architecture).endswith(f"For{suffix}") for architecture in architectures):
            return False
        shapes_by_part: defaultdict[str, list[list[int]]] = defaultdict(list)
        for name, shape in _shapes(self.folder / WEIGHTS).items():
            shapes_by_part[name.partition(".")[0]].append(shape)
        if not shapes_by_part:
            return False
        body = max(shapes_by_part, key=lambda part: len(shapes_by_part[part]))
        del shapes_by_part[body]
        for shape in chain.from_iterable(shapes_by_part.values()):
            if len(shape) == 2 and shape[0] == len(self.class_names):
                return True
        return False

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of its columns, in order. Raises FingerprintMismatch for a contradiction."""
        names, _ = names_in(self.config, self.name)
        if names:
            return tuple(name for _, name in sorted(names.items()))
        try:
            check_counts(self.config)
        except SpecError as error:
            raise error.at(self.name) from None
        count = self.config.get("num_labels")
        if type(count) is not int:
            count = 2
        return tuple(f"LABEL_{i}" for i in range(count))

    def check_problem(self) -> None:
        """Raises SpecError where its outputs are no distribution over exclusive classes."""
        check_problem(self.config.get("problem_type"), len(self.class_names), self.name)

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer, of the library `tokenizers`, without truncation and padding, or None."""
        path = self.folder / TOKENIZER
        if not path.is_file():
            return None
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
        except (
            Exception
        ):  # the library has no kind of its own for a damaged file, which loading it will report
            return None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @property
    def max_length(self) -> int | None:
        """The longest input that its files name, in tokens."""
        of_tokenizer = _read(self.folder / TOKENIZER_CONFIG).get("model_max_length")
        declared = (of_tokenizer, self.config.get("max_position_embeddings"))
        limits = [limit for limit in declared if type(limit) is int and 0 < limit < 2**31]
        return min(limits, default=None)

    @property
    def layers(self) -> int | None:
        """How many layers it has; None where its configuration does not say."""
        names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
        found = next((self.config[name] for name in names if name in self.config), None)
        return found if type(found) is int else None

    @property
    def lacks_chat_template(self) -> bool:
        """Whether its tokenizer surely has none: a folder that has its settings, and none in it."""
        beside = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
        if any((self.folder / name).exists() for name in beside):
            return False
        settings = _read(self.folder / TOKENIZER_CONFIG)
        return bool(settings) and not settings.get("chat_template")


def described(name: str) -> Described | None:
    """The checkpoint of this name if its files are here, in a folder or the hub's cache."""
    if Path(name).is_dir():
        return Described(name, Path(name))
    if not hub.on_hub(name):
        return None
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name, CONFIG)
    except errors.HFValidationError:
        return None
    return Described(name, Path(cached).parent) if isinstance(cached, str) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, FormatError):
        return {}


def _shapes(path: Path) -> dict[str, list[int]]:
    """The tensors' shapes in a safetensors file by name, from its header; empty if unreadable."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size)) if size <= MAX_HEADER else {}
        header.pop("__metadata__", None)
        return {name: list(entry["shape"]) for name, entry in header.items()}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        return {}
