"""What models that name a class have in common: cross-entropy, and whether the most probable class is the right one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Classifier(nn.Module):
    """A module whose ``forward`` maps x [batch, ...] to logits [batch, classes]; y are class numbers, int64 [batch]."""

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self(x), y)

    def judged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(x)
        return cross_entropy(logits, y, reduction="none"), (logits.argmax(1) == y).to(logits.dtype)
