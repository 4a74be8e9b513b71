"""Options that say how documents become the rows of a language model."""

from __future__ import annotations

from dataclasses import dataclass

from logitcache.config.option import Cost, option

GROUP = "Language models"
SUPERVISED = ("all", "completions")


@dataclass(frozen=True)
class Sequences:
    """How documents are cut into rows of tokens, and which tokens are learnt."""

    seq_len: int | None = option(
        None,
        "Tokens of a row. Default: 256, or what the model takes where that is less; for `train` that of the cache.",
        minimum=4,
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    pack: bool = option(
        True,
        "Put documents one behind the other and cut them into rows of --seq-len tokens. Without: one document a row.",
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    keep_documents: bool = option(
        False,
        "Keep attention and positions inside each document of a packed row.",
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    supervise: str | None = option(
        None,
        "Tokens that are learnt: all, or those of completions alone. Default: completions where the data has prompts "
        "or messages, else all.",
        choices=SUPERVISED,
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    views: int = option(
        1,
        "Masked-lm: patterns of masks of each row. Epoch e learns from pattern e mod VIEWS.",
        minimum=1,
        maximum=1000,
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    mask_rate: float = option(
        0.15,
        "Masked-lm: share of masked tokens.",
        above=0,
        below=1,
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    whole_words: bool = option(
        False,
        "Masked-lm: mask all pieces of a word together.",
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
    mask_seed: int = option(
        0,
        "Masked-lm: seed of the masks.",
        minimum=0,
        maximum=2**32 - 1,
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,
    )
