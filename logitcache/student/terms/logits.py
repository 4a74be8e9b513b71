"""Terms of logits: the labels, and the teacher's answer. They share one pass over the logits, as
every method of :mod:`logitcache.student.methods`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from logitcache.config.option import option


@dataclass(frozen=True)
class Gold:
    """Cross-entropy with the labels, ``-log q(y)`` of each kept position."""

    dumped: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Soft:
    """Cross-entropy with the teacher's answer at temperature 1, ``-sum_v p(v) log q(v)`` of each kept
    position: its gradient is that of KL(p || q). The authors of Bui et al. (2024) take the mean over
    positions *and words* in their code, which is 1/V of that.
    """

    dumped: ClassVar[tuple[str, ...]] = ("logits",)
    reduction: str = option(
        "token",
        "token: the cross-entropy of a position. authors: divided by the number of words, too.",
        choices=("token", "authors"),
    )

    def factor(self, width: int) -> float:
        """What a position's cross-entropy is multiplied by, with so many words."""
        return 1.0 if self.reduction == "token" else 1.0 / width
