"""How rows of unequal length become one batch, as a value: which side is filled, and with what.

Nothing says for certain how a model was trained to be padded: tokenizers and configurations differ, and some models
read a filled position as text. So ``logitcache.models.probe`` chooses by evidence; this is what it chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Side(StrEnum):
    """Where a batch is filled. ``NONE``: nowhere; rows of equal length are asked together."""

    RIGHT = "right"
    LEFT = "left"
    NONE = "none"


@dataclass(frozen=True)
class Padding:
    """How a batch is filled, and what the model is shown of that."""

    side: Side
    token: int  # id of the filling
    segment: int  # token type of the filling
    mask: bool = True  # the model gets an attention mask
    free: bool = False  # the model names no padding token: any that no row of the batch ends in will do

    @classmethod
    def of(cls, tokenizer: Any) -> Padding:
        """The tokenizer's own."""
        mask = "attention_mask" in tokenizer.model_input_names
        return cls(Side(tokenizer.padding_side), tokenizer.pad_token_id, tokenizer.pad_token_type_id, mask)

    def to_dict(self) -> dict[str, Any]:
        """What a plan records."""
        return {"side": str(self.side), "token": None if self.free else self.token, "mask": self.mask}
