"""The paper's models, as ordinary modules: any optimizer in the world can train them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from adam_repro.products import Linear


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


class MLP(nn.Module):
    """A fully connected network with rectified units (paper, section 6.2): two hidden layers of 1000 on MNIST.

    ``input_dropout`` and ``hidden_dropout`` are the probabilities that an input, or a hidden unit, is left out of a
    training step; what remains is scaled up (inverted dropout), so that evaluation needs no scaling. The paper states
    neither the rates nor the initialisation: weights start normal with variance 2 / inputs (He et al. 2015, "Delving
    Deep into Rectifiers"), biases at zero.

    Shapes: ``forward`` maps [batch, in_features] to [batch, classes].
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int], classes: int, *, input_dropout: float, hidden_dropout: float
    ):
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(input_dropout)]
        for inputs, outputs in itertools.pairwise((in_features, *hidden)):
            layers += [Linear(inputs, outputs), nn.ReLU(), nn.Dropout(hidden_dropout)]
        self.layers = nn.Sequential(*layers, Linear((in_features, *hidden)[-1], classes))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
