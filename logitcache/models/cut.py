"""A student cut out of a deeper checkpoint: some of its layers, with all that is above and below.

The layers are the entries of one list of modules: of the weights' names ``PREFIX.N.REST``, those
whose numbers N are 0 to the configuration's ``num_hidden_layers`` - 1. The model is made anew from
a configuration with fewer layers, and takes the weights of the chosen ones, renumbered.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import transformers
from transformers import AutoConfig, PreTrainedModel

from logitcache import hub
from logitcache.errors import SpecError
from logitcache.models.load import checkpoint_settings
from logitcache.models.loading import loading
from logitcache.models.sentence import with_layout_of

NUMBERED = re.compile(r"(.*?\.)(\d+)\.")
ADVICE = "Give --student a checkpoint's folder or hub name, whose layers --layers names."


def cut(
    checkpoint: str,
    layers: Sequence[int],
    revision: str | None = None,
    trust_remote_code: bool = False,
    *,
    keeps_layout: bool = False,
) -> PreTrainedModel:
    """The model of a checkpoint with these of its layers alone, numbered from 0, in this order.

    Its head and its pooler, where it has them, are kept. With ``keeps_layout`` it is a sentence
    encoder where the checkpoint is one: without the pooler, with what its modules.json names.
    Raises SpecError for a number that no layer has, a checkpoint whose layers cannot be told, and a
    layout to be kept that is not known here.
    """
    with loading("student", checkpoint, ADVICE, revision):
        commit = hub.checkpoint(checkpoint, revision)
        at = {} if commit is None else commit.settings()
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=trust_remote_code, **at)
        names = getattr(config, "architectures", None) or ["AutoModel"]
        kind = getattr(transformers, names[0], transformers.AutoModel)
        settings = checkpoint_settings(commit, trust_remote_code)
        transformers.set_seed(0)  # of weights that the checkpoint lacks, such as a pooler's
        whole_model: PreTrainedModel = kind.from_pretrained(checkpoint, dtype="float32", **settings)
    depth = getattr(config, "num_hidden_layers", None)
    prefix = _prefix(whole_model.state_dict(), depth)
    if prefix is None or getattr(config, "is_encoder_decoder", False):
        raise SpecError(
            expected="a model with one stack of layers",
            found=type(whole_model).__name__,
            advice="Leave --layers out.",
            where=checkpoint,
        )
    wrong = next((layer for layer in layers if layer >= int(depth or 0)), None)
    if wrong is not None:
        raise SpecError(
            expected=f"numbers of its {depth} layers, 0 to {int(depth or 0) - 1}",
            found=wrong,
            advice="Correct --layers.",
            where=checkpoint,
        )
    fewer = type(config).from_dict(_shortened(config.to_dict(), int(depth or 0), layers))
    model: PreTrainedModel = type(whole_model)._from_config(fewer)
    model.load_state_dict(_renumbered(whole_model.state_dict(), prefix, layers))
    model.float()
    if not keeps_layout:
        return model
    with loading("student", checkpoint, ADVICE, revision):
        return with_layout_of(checkpoint, model, at)


def _prefix(names: Iterable[str], depth: int | None) -> str | None:
    """What stands before the number of a layer in the names of its weights; None where no list of
    modules has as many entries as there are layers.
    """
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        match = NUMBERED.match(name)
        if match is not None:
            numbers[match[1]].add(int(match[2]))
    every_layer = set(range(depth or 0))
    prefixes = [prefix for prefix, layers in numbers.items() if layers == every_layer]
    return prefixes[0] if len(prefixes) == 1 else None


def _renumbered(weights: Mapping[str, Any], prefix: str, layers: Sequence[int]) -> dict[str, Any]:
    renumbered = {}
    for name, tensor in weights.items():
        match = NUMBERED.match(name)
        if match is None or match[1] != prefix:
            renumbered[name] = tensor
        elif int(match[2]) in layers:
            renumbered[f"{prefix}{layers.index(int(match[2]))}.{name[match.end() :]}"] = tensor
    return renumbered


def _shortened(settings: Mapping[str, Any], depth: int, layers: Sequence[int]) -> dict[str, Any]:
    """A configuration's values for fewer layers: their number, and lists of one value a layer."""
    shorter = dict(settings)
    for name, value in settings.items():
        if isinstance(value, list) and len(value) == depth and name != "architectures":
            shorter[name] = [value[layer] for layer in layers]
    for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        if settings.get(name) == depth:
            shorter[name] = len(layers)
    return shorter
