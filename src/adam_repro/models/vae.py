"""Section 6.4: a variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes")."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adam_repro.products import Linear
from adam_repro.softplus import bernoulli_cross_entropy, softplus

FIRST_STD = 0.01  # Kingma & Welling 2014, section 5


class VAE(nn.Module):
    """784 -> 500 -> z (50) -> 500 -> 784, softplus units, a Gaussian z, independent Bernoulli pixels (section 6.4).

    The cost is the negative of the lower bound, in nats an image, with one sample of noise for each image:
    KL(q(z|x) || N(0, I)) in closed form (Kingma & Welling 2014, appendix B) plus the cross-entropy of the pixels, which
    are taken as they are, as probabilities in [0, 1]. The paper says neither how parameters start nor whether pixels
    are made binary: weights start normal with standard deviation 0.01 as in the paper that it follows, biases at zero.

    Shapes: ``forward`` maps x [batch, pixels] to the logits of the pixels [batch, pixels], and to mean and log variance
    of q(z|x), [batch, latent] each.
    """

    def __init__(self, pixels: int, hidden: int, latent: int):
        super().__init__()
        self.encoder = Linear(pixels, hidden)
        self.posterior = Linear(hidden, 2 * latent)
        self.decoder = Linear(latent, hidden)
        self.likelihood = Linear(hidden, pixels)
        for layer in (self.encoder, self.posterior, self.decoder, self.likelihood):
            nn.init.normal_(layer.weight, std=FIRST_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.posterior(softplus(self.encoder(x))).chunk(2, dim=1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.likelihood(softplus(self.decoder(z))), mean, log_variance

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean negative bound of a minibatch; ``y`` plays no part."""
        return self._bounds(x).mean()

    def judged(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        bounds = self._bounds(x)
        return bounds, torch.full_like(bounds, math.nan)

    def _bounds(self, x: Tensor) -> Tensor:
        """The negative bound of each image, [batch]."""
        logits, mean, log_variance = self(x)
        return bernoulli_cross_entropy(logits, x) + _divergence(mean, log_variance).sum(1)


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each coordinate, [batch, latent]."""
    return (mean**2 + log_variance.exp() - 1 - log_variance) / 2
