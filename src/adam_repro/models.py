"""The paper's models, as ordinary modules: any optimizer in the world can train them."""

from __future__ import annotations

from torch import Tensor, nn


class SoftmaxRegression(nn.Module):
    """Multinomial logistic regression (paper, section 6.1): logits = W x + b.

    The paper states neither initialisation nor bias. Weights and biases start at zero, the usual choice for a convex
    problem, so that seeds differ in the order of the minibatches alone.

    Shapes: ``forward`` maps [batch, in_features] to [batch, classes].
    """

    def __init__(self, in_features: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(in_features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)
