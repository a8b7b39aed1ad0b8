"""The paper's models, as ordinary modules: any optimizer in the world can train them.

A model says what it minimises: ``cost(x, y)`` is the mean over a minibatch, in nats an example, with whatever noise
belongs to training; ``judged(x, y)`` gives, example by example and for evaluation, costs [batch] and hits [batch],
which are 1 where the answer is right (NaN where a model gives none). One whose gradient is worth writing out is a
``gradients.WrittenOut``.
"""

from adam_repro.models.classifier import Classifier
from adam_repro.models.cnn import CNN
from adam_repro.models.mlp import MLP
from adam_repro.models.regression import LogisticRegression, SoftmaxRegression
from adam_repro.models.vae import VAE

__all__ = ["CNN", "MLP", "VAE", "Classifier", "LogisticRegression", "SoftmaxRegression"]
