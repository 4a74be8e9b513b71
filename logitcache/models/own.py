"""A student of one's own: any ``nn.Module``, as a model of `transformers` like any other.

It is named as ``module:NAME``. A class or a function is called with ``vocab_size`` and
``num_labels`` and makes a module with fresh weights; a module in memory begins with the weights it
has. The module gets those of ``input_ids``, ``attention_mask`` and ``token_type_ids`` that its
``forward`` takes, i64[B, T] each, and returns logits f[B, K], or f[B, T, K] where the task answers
for each token. What is saved is loaded by `transformers` once logitcache has been imported.
"""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from logitcache.config import own
from logitcache.data.tasks.table import TASKS
from logitcache.errors import SpecError, short

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OwnConfig(PreTrainedConfig):
    """What a module of one's own is made with."""

    model_type = "logitcache-own"

    def __init__(
        self,
        own: str = "",
        vocab_size: int = 0,
        columns: int = 2,
        per_token: bool = False,
        **kwargs: Any,
    ) -> None:
        """``own`` is its name, ``columns`` the number of logits of a position."""
        self.own = own
        self.vocab_size = vocab_size
        self.columns = columns
        self.per_token = per_token
        super().__init__(**kwargs)


class OwnStudent(PreTrainedModel):
    """A module of one's own. Its weights are called ``module.NAME``."""

    config_class = OwnConfig
    base_model_prefix = "module"

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.module = _module_of(config)
        parameters = inspect.signature(self.module.forward).parameters.values()
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        names = {parameter.name for parameter in parameters}
        self.inputs = [name for name in INPUTS if takes_all or name in names]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The weights stay those that the module was made with."""

    def get_input_embeddings(self) -> nn.Module:
        raise NotImplementedError("which of its tables are embeddings is not known")

    def get_output_embeddings(self) -> None:
        return None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path: str,
        *args: Any,
        config: OwnConfig | None = None,
        dtype: Any = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """A saved one, from a folder. Buffers that are not saved are those of a new module."""
        model = cls(OwnConfig.from_pretrained(path) if config is None else config)
        state = load_file(Path(path) / "model.safetensors")
        missing, unexpected = model.load_state_dict(state, strict=False)
        if dtype is not None:
            model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        info = {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": []}
        return (model, info) if output_loading_info else model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        values = dict(zip(INPUTS, (input_ids, attention_mask, token_type_ids), strict=True))
        inputs = {name: values[name] for name in self.inputs if values[name] is not None}
        try:
            answer = self.module(**inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise own.failure(self.config.own, error, "it failed") from error
        logits = getattr(answer, "logits", answer)
        self._check(logits, input_ids)
        return SequenceClassifierOutput(logits=logits)

    def _check(self, logits: Any, input_ids: Tensor) -> None:
        """Raises SpecError for what are no logits of each row, or of each token."""
        positions = input_ids.shape if self.config.per_token else input_ids.shape[:1]
        expected = [*positions, self.config.columns]
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if shape != expected:
            what = "token" if self.config.per_token else "row"
            raise SpecError(
                expected=f"logits of each {what}, of shape {expected}",
                found=shape,
                advice="Correct that code.",
                where=own.place_of(self.module, "forward"),
            )


def _module_of(config: OwnConfig) -> nn.Module:
    """The module of a configuration. Raises SpecError where it cannot be made."""
    maker = own.load(config.own)
    if isinstance(maker, nn.Module):
        return copy.deepcopy(maker)
    try:
        module = maker(vocab_size=config.vocab_size, num_labels=config.columns)
    except Exception as error:
        problem = "it cannot be made with vocab_size and num_labels"
        raise own.failure(config.own, error, problem) from error
    if not isinstance(module, nn.Module):
        raise SpecError(
            expected="an nn.Module",
            found=short(repr(type(module))),
            advice="Name a class of modules, or a function that makes one.",
            where=config.own,
        )
    return module


AutoConfig.register(OwnConfig.model_type, OwnConfig)
for task in TASKS.values():
    getattr(transformers, task.auto_model).register(OwnConfig, OwnStudent)
