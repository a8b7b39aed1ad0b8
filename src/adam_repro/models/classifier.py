"""What models that name a class have in common: cross-entropy, and whether the most probable class is the right one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss


class Classifier(nn.Module):
    """A module whose ``forward`` maps x [batch, ...] to logits [batch, classes]; y are class numbers, int64 [batch]."""

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self(x), y)

    def judged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(x)
        return cross_entropy(logits, y, reduction="none"), (logits.argmax(1) == y).to(logits.dtype)


def cost_and_error(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy, [], of ``logits`` [batch, classes], and its gradient: (softmax - onehot) / batch."""
    log_softmax = logits.log_softmax(1)
    onehot = torch.arange(logits.shape[1], device=y.device) == y[:, None]
    return nll_loss(log_softmax, y), (log_softmax.exp() - onehot.to(logits.dtype)) / len(y)
