"""What files and rows alone tell of a language model's dump or training that cannot be: before
torch is loaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from logitcache.cache.cache import Cache
from logitcache.config.dump import DumpConfig
from logitcache.config.methods import METHODS, check_temperature
from logitcache.config.train import TrainConfig
from logitcache.data.preprocess.chat_errors import empty_completion, no_template, nothing_learnt
from logitcache.data.rows import Rows, Source
from logitcache.data.sources.chats import ASSISTANT
from logitcache.data.spool import numpy_of
from logitcache.models.described import described
from logitcache.reporter import SILENT
from logitcache.stages.stored import caches_of

SPOKEN = f'"role": "{ASSISTANT}"'  # in messages as a row has them


def check_stored(config: TrainConfig) -> None:
    """Raises what a training on the rows of caches would raise, where these are folders."""
    if not all(isinstance(location, Path) for location in config.caches):
        return
    caches_of(config, None, SILENT)
    if config.temperature is not None and METHODS[config.method].reads_cache:
        for location in config.caches:
            check_temperature(Cache.open(location).temperatures, config.temperature)


def check_documents(config: DumpConfig, source: Source) -> None:
    """Raises SpecError for the first row without anything to learn, and for messages whose
    tokenizer has no chat template.
    """
    if source.form == "messages":
        tokenizer = config.teacher.tokenizer or config.teacher.name
        model = described(tokenizer)
        if model is not None and model.lacks_chat_template:
            raise no_template(tokenizer)
    if config.settings.sequences.supervise == "all":
        return
    for split, rows in source.dumped.items():
        _check_learnt(rows, source.form, f"{source.name}/{split}")


def _check_learnt(rows: Rows, form: str, name: str) -> None:
    if form == "messages":
        learnt = pc.count_substring(rows.text, SPOKEN)
        error = nothing_learnt()
    elif form == "prompt" and rows.text_pair is not None:
        learnt = pc.binary_length(rows.text_pair)
        error = empty_completion()
    else:
        return
    empty = np.flatnonzero(numpy_of(learnt) == 0)
    if len(empty):
        raise error.at(f"{name} row {rows.row_id[empty[0]]}")
