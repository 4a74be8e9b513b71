"""The codec ``replay`` made ready: the teacher's last linear map, proved to give its logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from logitcache.config.teacher import DumpSettings
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.source import Rows
from logitcache.errors import SpecError
from logitcache.models.attention import stored
from logitcache.models.heads import check_head, check_remade, has_head, head_of
from logitcache.models.projection import head_logits
from logitcache.models.signals import HEAD_INPUT
from logitcache.payloads import Head
from logitcache.records import Array
from logitcache.targets.replay import BIAS, WEIGHT, ReplayCodec
from logitcache.teacher.panel import Panel

CHECKED_ROWS = 4  # whose replayed logits are compared with the teacher's


def replaying(
    codec: ReplayCodec,
    panel: Panel,
    head: Head[torch.Tensor] | None,
    rows: Rows,
    settings: DumpSettings,
    *,
    check: bool = True,
) -> tuple[ReplayCodec, dict[str, Array]]:
    """(the codec, the tensors that a cache keeps once) of a teacher. ``head`` is the map that was
    seen to make its logits, None where none does. With ``check`` the replayed logits of some rows
    are compared with the teacher's. Raises SpecError for a teacher whose logits are not those of
    one linear map, scaled and capped as its configuration says.
    """
    teacher = panel.first
    if not teacher.kind.per_token or not has_head(teacher.model):
        raise SpecError(
            expected="a language model whose logits one linear map makes",
            found=type(teacher.model).__name__,
            advice="Choose another, such as --codec float16.",
            where="--codec replay",
        )
    examples = prepare(
        teacher.tokenizer, rows.select(np.arange(min(len(rows), CHECKED_ROWS))), settings.max_length
    )
    if head is None:
        try:  # at small logits a cap does not show, which larger ones of other rows have
            check_remade(teacher.model, examples, teacher.padding)
        except SpecError as error:
            raise error.at(teacher.name) from error.__cause__
        head = head_of(teacher.model, codec.width)
    if check:
        index = np.arange(len(examples))
        with torch.inference_mode():
            live = teacher.answers(examples, index)
            hidden = panel.watching(HEAD_INPUT).first.answers(examples, index).to(head.weight.dtype)
            check_head(head_logits(hidden, head), live.to(head.weight.dtype), teacher.name)
    tensors = {WEIGHT: stored(head.weight)}
    if head.bias is not None:
        tensors[BIAS] = stored(head.bias)
    dtype = str(head.weight.dtype).removeprefix("torch.")
    own = replace(
        codec,
        hidden=HEAD_INPUT.width(teacher.model),
        dtype=dtype,
        scale=float(head.scale),
        cap=head.cap,
    )
    return own, tensors
