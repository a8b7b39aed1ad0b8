"""Section 6.2: fully connected networks with rectified units."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adam_repro.compilation import compiled_for_networks
from adam_repro.dropout import Dropout
from adam_repro.gradients import WrittenOut
from adam_repro.models.classifier import Classifier, cost_and_error
from adam_repro.products import Linear, product


class MLP(Classifier, WrittenOut):
    """A fully connected network with rectified units (paper, section 6.2): two hidden layers of 1000 on MNIST.

    ``input_dropout`` and ``hidden_dropout`` are the probabilities that an input, or a hidden unit, is left out of a
    training step; what remains is scaled up (inverted dropout), so that evaluation needs no scaling. The paper states
    neither the rates nor the initialisation: weights start normal with variance 2 / inputs (He et al. 2015, "Delving
    Deep into Rectifiers"), biases at zero.

    Shapes: ``forward`` maps [batch, in_features] to [batch, classes]. Training reads weights, biases and rates off
    ``layers`` and takes the rest of them as it is built here: a subclass with other layers needs its own ``forward`` or
    ``cost_and_gradients``.
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

    def cost_and_gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean cross-entropy of a minibatch, and its gradients."""
        linear = [layer for layer in self.layers if isinstance(layer, Linear)]
        dropout = [layer for layer in self.layers if isinstance(layer, Dropout)]  # of what goes into each of ``linear``
        stays = [rate.draw((len(x), layer.in_features), x.device) for rate, layer in zip(dropout, linear, strict=True)]
        parameters = [p for layer in linear for p in (layer.weight, layer.bias)]
        return _cost_and_gradients(x, y, stays, [rate.scale for rate in dropout], *parameters)


@compiled_for_networks
def _cost_and_gradients(
    x: Tensor, y: Tensor, stays: Sequence[Tensor | None], scales: Sequence[float], *parameters: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The cost of x [batch, in] and y [batch], and the gradients of each layer's weight and bias.

    ``stays`` and ``scales`` are those of ``Dropout`` for what goes into each layer.
    """
    weights, biases = parameters[::2], parameters[1::2]
    inputs: list[Tensor] = []  # of the layers
    for weight, bias, stay, scale in zip(weights, biases, stays, scales, strict=True):
        x = x.clamp(min=0) if inputs else x
        inputs.append(x if stay is None else x * (stay.to(x.dtype) * scale))
        x = product(inputs[-1], weight, bias)
    cost, g = cost_and_error(x, y)
    gradients: list[Tensor] = []
    for i in reversed(range(len(weights))):
        gradients = [product(g.t(), inputs[i].t()), g.sum(0), *gradients]
        if i:  # a unit that was left out gave zero, as one that was not positive
            g = torch.where(inputs[i] <= 0, 0, product(g, weights[i].t()) * scales[i])
    return cost, gradients


def start_rectified(model: nn.Module) -> None:
    """Weights normal with variance 2 / inputs, biases zero: what keeps the size of signals between rectified units."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
