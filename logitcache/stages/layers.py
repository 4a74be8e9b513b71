"""``--layers``: a student cut out of a checkpoint, from there on a checkpoint like any other."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from logitcache.config.signals import OWN_VECTOR
from logitcache.config.train import FROM, TrainConfig
from logitcache.data.tasks.table import TASKS
from logitcache.stages.defaults import checkpoint_name
from logitcache.stages.in_memory import saved_model


def with_layers(config: TrainConfig, task: str | None) -> TrainConfig:
    """The configuration with its student cut, which is saved in the workspace. ``task`` is that of
    its rows, where it is known. Raises SpecError.
    """
    if config.layers is None:
        return config
    checkpoint = config.student.removeprefix(FROM)
    folder = _cut(
        checkpoint=checkpoint,
        name=checkpoint_name(checkpoint),
        layers=config.layers,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        tokenizer=config.tokenizer,
        workspace=config.workspace.folder,
        keeps_layout=task is not None and TASKS[task].answer == OWN_VECTOR,
    )
    return replace(config, student=str(folder), layers=None, revision=None)


@lru_cache(maxsize=8)
def _cut(
    checkpoint: str,
    name: str,
    layers: tuple[int, ...],
    revision: str | None,
    trust_remote_code: bool,
    tokenizer: str | None,
    workspace: Path,
    keeps_layout: bool,
) -> Path:
    """The folder of a cut student; ``name`` tells two states of one checkpoint apart."""
    from logitcache.models.cut import cut
    from logitcache.models.load import load_tokenizer

    model = cut(checkpoint, layers, revision, trust_remote_code, keeps_layout=keeps_layout)
    if tokenizer:
        own = load_tokenizer(tokenizer, None, trust_remote_code)
    else:
        own = load_tokenizer(checkpoint, revision, trust_remote_code)
    numbers = "-".join(map(str, layers))
    short = f"{Path(checkpoint).name}-layers-{numbers}"
    return saved_model(model, own, workspace / "models", short)
