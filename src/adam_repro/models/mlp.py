"""Section 6.2: fully connected networks with rectified units."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from adam_repro.dropout import Dropout
from adam_repro.models.classifier import Classifier
from adam_repro.products import Linear


class MLP(Classifier):
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
        layers: list[nn.Module] = [Dropout(input_dropout)]
        for inputs, outputs in itertools.pairwise((in_features, *hidden)):
            layers += [Linear(inputs, outputs), nn.ReLU(inplace=True), Dropout(hidden_dropout)]
        self.layers = nn.Sequential(*layers, Linear((in_features, *hidden)[-1], classes))
        start_rectified(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def start_rectified(model: nn.Module) -> None:
    """Weights normal with variance 2 / inputs, biases zero: what keeps the size of signals between rectified units."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
