"""Whether a causal language model sees earlier tokens alone.

`transformers` loads the encoders of BERT and its kin as causal language models too, with attention
to every token: such a model reads the token that it is to predict.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from logitcache.errors import SpecError
from logitcache.models.call import ModelFailed, ask
from logitcache.models.probe import ROUNDING, undisturbed
from logitcache.records import Padding, Side

TOKENS = 8  # of the row that is asked about


def check_causal(model: PreTrainedModel, auto: Any, name: str) -> None:
    """Ask a model that was loaded as a causal one about two rows that differ in their last token.
    Raises SpecError where its answers at the tokens before differ too.
    """
    if auto is not transformers.AutoModelForCausalLM:
        return
    words = model.config.get_text_config().vocab_size
    ids = np.tile(np.arange(TOKENS) % words, (2, 1))
    ids[1, -1] = (ids[0, -1] + words // 2) % words
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    with torch.no_grad(), undisturbed(model):
        try:
            logits = ask(model, inputs, Padding(Side.NONE, token=0, segment=0), per_token=True)
        except ModelFailed:  # raised again, with its row, where rows are asked about
            return
    before = logits[:, :-1].float()
    difference = float((before[0] - before[1]).abs().max())
    if difference > ROUNDING[logits.dtype] * float(before.abs().max()):
        raise SpecError(
            expected="a model that sees earlier tokens alone, to predict the next one",
            found=f"{type(model).__name__}, whose answers depend on later tokens",
            advice="Name a causal language model, or give --task masked-lm.",
            where=name,
        )
