"""A student, its gathered positions, head and loss as one module: the one that Trainer, DDP and
FSDP wrap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from logitcache.models.call import ModelFailed, at_positions, classify
from logitcache.models.heads import has_head, head_of
from logitcache.models.projection import head_logits
from logitcache.models.signals import HEAD_INPUT
from logitcache.records import Batch, Padding
from logitcache.student.losses.vocabulary import PLAIN, choose, head_loss
from logitcache.student.methods import Objective
from logitcache.student.term import OwnObjective


class Distiller(nn.Module):
    """A student and its objective: ``Batch`` to (summed loss, logits f32[P, K]). ``padding`` is how
    batches are made; with ``some_unlabelled``, labels may be -1.

    Of a vocabulary, logits exist at the kept positions alone, and in training perhaps never all at
    once: then none are given back. ``execution`` chooses how that loss is computed, see
    :mod:`logitcache.student.losses.vocabulary`. Without ``reads_head`` the model's own logits are
    taken, as is right where its code does more with them than a head does
    (:func:`logitcache.models.heads.remakes_logits`).
    """

    def __init__(
        self,
        student: PreTrainedModel,
        objective: Objective | OwnObjective,
        padding: Padding,
        *,
        some_unlabelled: bool = False,
        per_token: bool = False,
        width: int | None = None,
        execution: str | None = None,
        reads_head: bool = True,
    ) -> None:
        super().__init__()
        self.width = width  # columns that are answers; None: all
        self.per_token = per_token
        self.student, self.objective, self.padding = student, objective, padding
        self.some_unlabelled, self.execution = some_unlabelled, execution
        self.reads_head = reads_head
        self.executions: set[str] = set()  # that have been used

    def forward(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        is_own = isinstance(self.objective, OwnObjective)  # it gets full logits
        if self.per_token and self.reads_head and not is_own and has_head(self.student):
            return self._of_vocabulary(batch)
        # what is behind is filling of the head
        logits = self._at_positions(self.student, batch)[:, : self.width]
        if not self.training:
            return torch.zeros((), device=logits.device), logits
        if self.per_token and self.student.get_output_embeddings() is not None:
            # a head that is spread over processes, or one with more behind it than a linear map
            self.executions.add(f"{PLAIN}, of the model's own logits")
        loss = self.objective.loss(
            logits, batch.label, batch.teacher, some_unlabelled=self.some_unlabelled
        )
        return (loss * batch.weight).sum(), logits

    def _of_vocabulary(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        hidden = self._at_positions(HEAD_INPUT.watch(self.student), batch)
        head = head_of(self.student, self.width)
        if not self.training:
            return torch.zeros((), device=hidden.device), head_logits(
                hidden.to(head.weight.dtype), head
            ).float()
        assert isinstance(self.objective, Objective)
        target = self.objective.target(
            batch.label, batch.teacher, len(head.weight), some_unlabelled=self.some_unlabelled
        )
        execution = self.execution or choose(hidden, head)
        self.executions.add(execution)
        return head_loss(hidden, head, target, batch.weight, execution), hidden.new_empty(0)

    def _at_positions(self, model: PreTrainedModel, batch: Batch[Tensor]) -> Tensor:
        """The model's vectors at the kept positions: f32[P, W]."""
        try:
            vectors = classify(model, batch.inputs, self.padding, per_token=self.per_token)
        except ModelFailed as error:
            raise error.named(int(batch.row_id[error.row])) from error.__cause__
        return at_positions(vectors, batch.where)
