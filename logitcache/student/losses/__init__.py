"""The mathematics: pure functions of tensors, in nats. No input or output, no settings."""

from logitcache.student.losses.dense import (
    Weights as Weights,
)
from logitcache.student.losses.dense import (
    cross_entropy as cross_entropy,
)
from logitcache.student.losses.dense import (
    distillation_loss as distillation_loss,
)
from logitcache.student.losses.dense import (
    kl_divergence as kl_divergence,
)
from logitcache.student.losses.dense import (
    mixed_target as mixed_target,
)
from logitcache.student.losses.dense import (
    mixture_loss as mixture_loss,
)
