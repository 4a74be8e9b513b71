"""A student, its gathered positions, head and loss as one module, which Trainer and DDP wrap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from logitcache.models.call import ModelFailed, at_positions, classify, classify_several
from logitcache.models.heads import has_head, head_of
from logitcache.models.projection import head_logits
from logitcache.models.signals import HEAD_INPUT, LOGITS, Signal, together, watched
from logitcache.payloads import Head
from logitcache.records import Batch, Padding
from logitcache.student.losses.gradient import Target
from logitcache.student.losses.vocabulary import PLAIN, choose, head_loss, logits_loss
from logitcache.student.methods import Objective
from logitcache.student.term import OwnObjective
from logitcache.student.terms.objective import BoundSum, SumObjective


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
        objective: Objective | OwnObjective | SumObjective,
        padding: Padding,
        *,
        some_unlabelled: bool = False,
        per_token: bool = False,
        width: int | None = None,
        execution: str | None = None,
        reads_head: bool = True,
        terms: BoundSum | None = None,
    ) -> None:
        super().__init__()
        self.width = width  # columns that are answers; None: all
        self.per_token = per_token
        self.student = student
        self.objective = objective
        self.padding = padding
        self.some_unlabelled = some_unlabelled
        self.execution = execution
        self.reads_head = reads_head
        self.terms = terms  # of an objective that is a sum: those of signals
        self.executions: set[str] = set()  # that have been used

    def forward(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        """(loss, logits f[P, width]). In evaluation the loss is 0 and only the logits are returned,
        whatever the objective. In training the logits are empty where the loss does not need them
        whole: that of a vocabulary's head, and that of a sum of terms.
        """
        if self.training and isinstance(self.objective, SumObjective):
            return self._terms_loss(self.objective, batch)
        is_own = isinstance(self.objective, OwnObjective)  # it gets full logits
        if self.per_token and self.reads_head and not is_own and has_head(self.student):
            return self._vocabulary_loss(batch)
        # columns beyond `width` are padding of the output layer
        logits = self._at_positions(self.student, batch)[:, : self.width]
        if not self.training:
            return torch.zeros((), device=logits.device), logits
        if self.per_token and self.student.get_output_embeddings() is not None:
            # a head that is spread over processes, or one with more behind it than a linear map
            self.executions.add(f"{PLAIN}, of the model's own logits")
        assert not isinstance(self.objective, SumObjective)
        loss = self.objective.loss(
            logits, batch.label, batch.teacher, some_unlabelled=self.some_unlabelled
        )
        return (loss * batch.weight).sum(), logits

    def _vocabulary_loss(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        hidden = self._at_positions(HEAD_INPUT.watch(self.student), batch)
        head = head_of(self.student, self.width)
        if not self.training:
            logits = head_logits(hidden.to(head.weight.dtype), head).float()
            return torch.zeros((), device=hidden.device), logits
        assert isinstance(self.objective, Objective)
        target = self.objective.target(
            batch.label, batch.teacher, len(head.weight), some_unlabelled=self.some_unlabelled
        )
        return self._head_loss(hidden, head, target, batch), hidden.new_empty(0)

    def _head_loss(
        self, hidden: Tensor, head: Head[Tensor], target: Target, batch: Batch[Tensor]
    ) -> Tensor:
        """The summed loss of what the head is given at the kept positions: f[P, d]."""
        execution = self.execution or choose(hidden, head)
        self.executions.add(execution)
        return head_loss(hidden, head, target, batch.weight, execution)

    def _terms_loss(self, objective: SumObjective, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        """The sum of an objective's terms, of one forward pass. A term of signals gives one loss
        per row, weighted by the summed weights of the row's kept positions, so the mean does not
        depend on micro-batching.
        """
        uses_head = self.per_token and self.reads_head and has_head(self.student)
        of_logits: tuple[Signal, ...] = ()
        if objective.has_logits:
            of_logits = (HEAD_INPUT if uses_head else LOGITS,)
        of_terms: tuple[Signal, ...] = ()
        if self.terms is not None:
            of_terms = self.terms.student_signals
        model = watched(self.student, together((*of_logits, *of_terms)))
        per_token = [self.per_token for _ in of_logits]
        per_token += [not signal.per_row for signal in of_terms]
        with _failed_row_named(batch):
            vectors = classify_several(model, batch.inputs, self.padding, tuple(per_token))
        loss = batch.weight.new_zeros(())
        if of_logits:
            loss = loss + self._logits_loss(objective, batch, vectors[0], uses_head)
        if self.terms is not None:
            names = [signal.name for signal in of_terms]
            by_signal = dict(zip(names, vectors[len(of_logits) :], strict=True))
            row_loss = self.terms(self.student, by_signal, batch)
            row_weight = batch.weight.new_zeros(len(batch.row_id))
            row_weight = row_weight.index_add(0, batch.where[:, 0], batch.weight)
            loss = loss + (row_loss * row_weight).sum()
        return loss, loss.new_empty(0)

    def _logits_loss(
        self, objective: SumObjective, batch: Batch[Tensor], vectors: Tensor, uses_head: bool
    ) -> Tensor:
        """The terms of logits: f[B, T, d] of what the head is given, or of logits."""
        selected = at_positions(vectors, batch.where)
        if not uses_head:
            logits = selected[:, : self.width]
            target = objective.target(batch.label, batch.teacher, logits.shape[1])
            loss = logits_loss(logits, target)
            return (loss * batch.weight).sum()
        head = head_of(self.student, self.width)
        target = objective.target(batch.label, batch.teacher, len(head.weight))
        return self._head_loss(selected, head, target, batch)

    def _at_positions(self, model: PreTrainedModel, batch: Batch[Tensor]) -> Tensor:
        """The model's vectors at the kept positions: f32[P, W]."""
        with _failed_row_named(batch):
            vectors = classify(model, batch.inputs, self.padding, per_token=self.per_token)
        return at_positions(vectors, batch.where)


@contextmanager
def _failed_row_named(batch: Batch[Tensor]) -> Iterator[None]:
    """A model's error names the row by its number in the table, not by its place in the batch."""
    try:
        yield
    except ModelFailed as error:
        row = int(batch.row_id[error.row])
        raise error.named(row) from error.__cause__
