"""Options that say how documents become the rows of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from logitcache.config.option import Cost, option

GROUP = "Language models"
SUPERVISED = ("all", "completions")


@dataclass(frozen=True)
class Recipe:
    """How the rows of a language model are made, with every default filled in, as a plan records it."""

    seq_len: int | None = None
    pack: bool = True
    keep_documents: bool = False
    supervise: str | None = None
    views: int = 1
    mask_rate: float = 0.15
    whole_words: bool = False
    mask_seed: int = 0


# what all options of rows have in common
_sequence_option = partial(option, group=GROUP, recorded=False)


@dataclass(frozen=True)
class Sequences:
    """How documents are cut into rows of tokens, and which tokens are learnt; None where that is
    left to the default, or in a training to its cache.
    """

    seq_len: int | None = _sequence_option(
        None,
        "Tokens of a row. Default: 256, or what the model takes where that is less; for `train` that of the cache.",
        minimum=4,
    )
    pack: bool | None = _sequence_option(
        None,
        "Cut documents, one behind the other, into rows of --seq-len tokens (the default), or take one document a row.",
    )
    keep_documents: bool | None = _sequence_option(
        None,
        "Keep attention and positions inside each document of a packed row. Default: no.",
    )
    supervise: str | None = _sequence_option(
        None,
        "Tokens that are learnt. Default: completions where the data has prompts or messages, else all.",
        choices=SUPERVISED,
    )
    views: int | None = _sequence_option(
        None,
        "Masks of each row, or for causal-lm draws of its targets (sampled, varopt). Epoch e learns from view e mod "
        f"VIEWS. Default: {Recipe.views}.",
        minimum=1,
        maximum=1000,
    )
    mask_rate: float | None = _sequence_option(
        None,
        f"Masked-lm: share of masked tokens. Default: {Recipe.mask_rate}.",
        above=0,
        below=1,
    )
    whole_words: bool | None = _sequence_option(
        None,
        "Masked-lm: mask all pieces of a word together. Default: no.",
        cost=Cost.NONE,
    )
    mask_seed: int | None = _sequence_option(
        None,
        f"Masked-lm: seed of the masks. Default: {Recipe.mask_seed}.",
        cost=Cost.NONE,
        minimum=0,
        maximum=2**32 - 1,
    )

    def recipe(self) -> Recipe:
        """The same with defaults."""
        chosen = {name: value for name, value in vars(self).items() if value is not None}
        return Recipe(**chosen)
