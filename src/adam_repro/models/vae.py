"""Section 6.4: a variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes")."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from adam_repro.compilation import compiled_for_networks
from adam_repro.products import product
from adam_repro.softplus import cross_entropy_and_slope, softplus_and_slope

FIRST_STD = 0.01  # Kingma & Welling 2014, section 5


class VAE(nn.Module):
    """784 -> 500 -> z (50) -> 500 -> 784, softplus units, a Gaussian z, independent Bernoulli pixels (section 6.4).

    The cost is the negative of the lower bound, in nats an image, with one sample of noise for each image:
    KL(q(z|x) || N(0, I)) in closed form (Kingma & Welling 2014, appendix B) plus the cross-entropy of the pixels, which
    are taken as they are, as probabilities in [0, 1]. The paper says neither how parameters start nor whether pixels
    are made binary: weights start normal with standard deviation 0.01 as in the paper that it follows, biases at zero.

    Shapes: ``forward`` maps x [batch, pixels] to the negative bound of each image, [batch]. ``posterior`` is the layer
    that gives the means of q(z|x) and, behind them, its log variances.
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
        noise = torch.randn(len(x), self.latent, dtype=x.dtype, device=x.device)
        return _NegativeBound.apply(x, noise, *self.parameters())

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean negative bound of a minibatch; ``y`` plays no part."""
        return self(x).mean()

    def judged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        bounds = self(x)
        return bounds, torch.full_like(bounds, math.nan)


class _NegativeBound(torch.autograd.Function):
    """``VAE.forward`` for given noise [batch, latent] and the four layers' weights and biases, in the model's order.

    The gradient is written out: automatic differentiation of the same steps makes a training step a tenth longer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, *parameters: Tensor) -> Tensor:
        bounds, *kept = _bounds(x, noise, *parameters)
        weights = parameters[2::2]  # of the layers behind the first, whose input needs no gradient
        ctx.save_for_backward(x, noise, *kept, *weights)
        return bounds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_gradients(gradients[0][:, None], *ctx.saved_tensors)


@compiled_for_networks
def _bounds(x: Tensor, noise: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """The negative bounds [batch], and behind them what ``_gradients`` needs of the layers."""
    w_encoder, b_encoder, w_posterior, b_posterior, w_decoder, b_decoder, w_likelihood, b_likelihood = parameters
    encoded, encoded_slope = softplus_and_slope(product(x, w_encoder, b_encoder))
    mean, log_variance = product(encoded, w_posterior, b_posterior).chunk(2, dim=1)
    std = (log_variance / 2).exp()
    z = mean + std * noise
    decoded, decoded_slope = softplus_and_slope(product(z, w_decoder, b_decoder))
    cross_entropy, logits_slope = cross_entropy_and_slope(product(decoded, w_likelihood, b_likelihood), x)
    divergence = (mean**2 + std**2 - 1 - log_variance).sum(1) / 2
    slopes = encoded_slope, decoded_slope, logits_slope
    return cross_entropy + divergence, encoded, mean, std, z, decoded, *slopes


@compiled_for_networks
def _gradients(g: Tensor, x: Tensor, noise: Tensor, *kept: Tensor) -> list[Tensor]:
    """Gradients of the parameters, in the model's order, for ``g`` [batch, 1], that of the bounds."""
    encoded, mean, std, z, decoded, *slopes, w_posterior, w_decoder, w_likelihood = kept
    encoded_slope, decoded_slope, logits_slope = slopes
    g_likelihood = logits_slope * g  # with respect to what a layer's product gave, as those below
    g_decoder = product(g_likelihood, w_likelihood.t()) * decoded_slope
    g_z = product(g_decoder, w_decoder.t())
    g_posterior = torch.cat((g_z + g * mean, (g_z * noise * std + g * (std**2 - 1)) / 2), dim=1)
    g_encoder = product(g_posterior, w_posterior.t()) * encoded_slope
    by_layer = ((g_encoder, x), (g_posterior, encoded), (g_decoder, z), (g_likelihood, decoded))
    return [part for g, inputs in by_layer for part in (product(g.t(), inputs.t()), g.sum(0))]
