"""Section 6.1: logistic regression, for ten classes of digits and for two kinds of review."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from adam_repro.dropout import checked_rate
from adam_repro.models.classifier import Classifier
from adam_repro.padded import Rows, SparseTimes


class SoftmaxRegression(Classifier):
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


class LogisticRegression(nn.Module):
    """Logistic regression for two classes on a sparse bag of words (paper, section 6.1): logit = w x + b.

    ``input_dropout`` is the probability that a word of a review is left out of a training step; the words that stay
    count 1 / (1 - p). Weights and bias start at zero.

    Shapes: ``forward`` maps sparse rows [batch, in_features] to the logits of class 1, [batch]; the weight is
    [in_features, 1], a word a row, which is how its gradient is gathered.
    """

    def __init__(self, in_features: int, *, input_dropout: float):
        super().__init__()
        self.input_dropout = checked_rate(input_dropout)
        self.weight = nn.Parameter(Tensor(in_features, 1).zero_())
        self.bias = nn.Parameter(Tensor(1).zero_())

    def forward(self, x: Rows) -> Tensor:
        x = x.dropped(self.input_dropout) if self.training else x
        return SparseTimes.apply(x, self.weight).squeeze(1) + self.bias

    def cost(self, x: Rows, y: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(self(x), y.to(self.weight.dtype))

    def judged(self, x: Rows, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = self(x)
        costs = binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none")
        return costs, ((logits > 0) == y).to(logits.dtype)
