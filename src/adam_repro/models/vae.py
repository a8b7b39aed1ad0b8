"""Section 6.4: a variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes")."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adam_repro.compilation import compiled_for_networks
from adam_repro.gradients import WrittenOut
from adam_repro.products import product
from adam_repro.softplus import cross_entropy_and_slope, softplus_and_slope

FIRST_STD = 0.01  # Kingma & Welling 2014, section 5


class VAE(WrittenOut):
    """784 -> 500 -> z (50) -> 500 -> 784, softplus units, a Gaussian z, independent Bernoulli pixels (section 6.4).

    The cost is the negative of the lower bound, in nats an image, with one sample of noise for each image:
    KL(q(z|x) || N(0, I)) in closed form (Kingma & Welling 2014, appendix B) plus the cross-entropy of the pixels, which
    are taken as they are, as probabilities in [0, 1]. The paper says neither how parameters start nor whether pixels
    are made binary: weights start normal with standard deviation 0.01 as in the paper that it follows, biases at zero.

    Shapes: ``forward`` maps x [batch, pixels] to the negative bound of each image, [batch], for evaluation: the
    gradient is that of ``cost``. ``posterior`` is the layer that gives the means of q(z|x) and, behind them, its log
    variances.
    """

    def __init__(self, pixels: int, hidden: int, latent: int):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Linear(pixels, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.Linear(latent, hidden)
        self.likelihood = nn.Linear(hidden, pixels)
        for layer in (self.encoder, self.posterior, self.decoder, self.likelihood):
            nn.init.normal_(layer.weight, std=FIRST_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return _bounds(x, self._noise(x), *self.parameters())

    def cost_and_gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean negative bound of a minibatch, and its gradients; ``y`` plays no part."""
        return _cost_and_gradients(x, self._noise(x), *self.parameters())

    def judged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        bounds = self(x)
        return bounds, torch.full_like(bounds, math.nan)

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), self.latent, dtype=x.dtype, device=x.device)


@torch.no_grad()
@compiled_for_networks
def _bounds(x: Tensor, noise: Tensor, *parameters: Tensor) -> Tensor:
    """The negative bounds [batch] of x [batch, pixels], for noise [batch, latent] and the four layers' weights and
    biases, in the model's order."""
    bounds, *_ = _pass(x, noise, *parameters)
    return bounds


@compiled_for_networks
def _cost_and_gradients(x: Tensor, noise: Tensor, *parameters: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The mean of the ``_bounds``, [], and its gradients."""
    _, _, w_posterior, _, w_decoder, _, w_likelihood, _ = parameters
    bounds, layers, posterior = _pass(x, noise, *parameters)
    encoded, encoded_slope, decoded, decoded_slope, logits_slope = layers
    mean, std, z = posterior
    # with respect to what each layer's product gave, from the last to the first
    g_likelihood = logits_slope / len(x)
    g_decoder = product(g_likelihood, w_likelihood.t()) * decoded_slope
    g_z = product(g_decoder, w_decoder.t())
    g_mean, g_log_variance = g_z + mean / len(x), (g_z * noise * std + (std**2 - 1) / len(x)) / 2
    g_posterior = torch.cat((g_mean, g_log_variance), dim=1)
    g_encoder = product(g_posterior, w_posterior.t()) * encoded_slope
    by_layer = ((g_encoder, x), (g_posterior, encoded), (g_decoder, z), (g_likelihood, decoded))
    return bounds.mean(), [part for g, inputs in by_layer for part in (product(g.t(), inputs.t()), g.sum(0))]


def _pass(x: Tensor, noise: Tensor, *parameters: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The negative bounds [batch]; what the layers gave, with slopes; the mean of z, its deviation, and z."""
    w_encoder, b_encoder, w_posterior, b_posterior, w_decoder, b_decoder, w_likelihood, b_likelihood = parameters
    encoded, encoded_slope = softplus_and_slope(product(x, w_encoder, b_encoder))
    mean, log_variance = product(encoded, w_posterior, b_posterior).chunk(2, dim=1)
    std = (log_variance / 2).exp()
    z = mean + std * noise
    decoded, decoded_slope = softplus_and_slope(product(z, w_decoder, b_decoder))
    cross_entropy, logits_slope = cross_entropy_and_slope(product(decoded, w_likelihood, b_likelihood), x)
    divergence = (mean**2 + std**2 - 1 - log_variance).sum(1) / 2
    layers = encoded, encoded_slope, decoded, decoded_slope, logits_slope
    return cross_entropy + divergence, layers, (mean, std, z)
