"""What others write, beside which `make bench` times this project: a typical PyTorch loop, and a population in JAX."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from adam_repro.data import Dataset
from adam_repro.data.order import epoch_order

JAX = "JAX vmap + optax"
HAS_JAX = all(importlib.util.find_spec(name) for name in ("jax", "optax"))
LR = 1e-3


def typical_loop(model: nn.Module, loss_of: Callable, loader: DataLoader, device: torch.device) -> Iterator[None]:
    """What most people write: DataLoader, torch.optim.Adam, the loss read at every step."""
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    while True:
        running = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()
            running += loss.item()
            yield


class Images(TorchDataset):
    """An image at a time, through PIL and transforms, as torchvision's data sets give them.

    ``images`` are uint8, [n, height, width] or [n, height, width, 3].
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable):
        from PIL import Image  # here, because nobody else's process should hold it

        self.images, self.labels, self.transform, self.from_array = images, labels, transform, Image.fromarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple:
        return self.transform(self.from_array(self.images[index].numpy())), int(self.labels[index])


def images(folder: Path, batch: int, *, mean: Sequence[float] = (), std: Sequence[float] = ()) -> DataLoader:
    """Mixed minibatches of the images in ``folder``; ``mean`` and ``std`` are those of each colour, if it is scaled."""
    from torchvision import transforms

    scaled = [transforms.Normalize(mean, std)] if mean else []
    transform = transforms.Compose([transforms.ToTensor(), *scaled])
    pixels, labels = torch.load(folder / "theirs.pt")
    return DataLoader(Images(pixels, labels, transform), batch_size=batch, shuffle=True)


def bag_of_words(folder: Path, batch: int) -> DataLoader:
    """Mixed minibatches of reviews as rows of ones and zeros, every zero in memory."""
    rows, labels = torch.load(folder / "theirs.pt", weights_only=False)
    return DataLoader(TensorDataset(rows.to_dense(), labels.float()), batch_size=batch, shuffle=True)


def softmax_regression() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def logistic_regression() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(10_000, 1))


def mlp() -> nn.Module:
    hidden = [nn.Linear(784, 1000), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), *hidden, nn.Linear(1000, 10))


def cnn() -> nn.Module:
    stages: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((3, 64, 64, 128)):
        stages += [nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, ceil_mode=True)]
    head = [nn.Flatten(), nn.Linear(128 * 4 * 4, 1000), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1000, 10)]
    return nn.Sequential(nn.Dropout(0.2), *stages, *head)


def loss_of_class(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(model(x), y)


def loss_of_review(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(model(x).squeeze(1), y)


class VAE(nn.Module):
    """784 -> 500 -> z (50) -> 500 -> 784 with softplus units, in the form of the usual examples."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(784, 500)
        self.mean, self.log_variance = nn.Linear(500, 50), nn.Linear(500, 50)
        self.decoder = nn.Sequential(nn.Linear(50, 500), nn.Softplus(), nn.Linear(500, 784))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = softplus(self.encoder(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        std = torch.exp(0.5 * log_variance)
        return self.decoder(mean + std * torch.randn_like(std)), mean, log_variance


def loss_of_vae(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.flatten(1)
    logits, mean, log_variance = model(x)
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (binary_cross_entropy_with_logits(logits, x, reduction="sum") + divergence) / len(x)


def jax_vmap(data: Dataset, lrs: list[float], *, batch_size: int, l2: float) -> Iterator[None]:
    """K members of one rule, Adam, by vmap over parameters, state and learning rate, in one jitted step."""
    import jax
    import jax.numpy as jnp
    import optax

    assert isinstance(data.train_x, Tensor)
    x, y, rates = jnp.asarray(data.train_x.numpy()), jnp.asarray(data.train_y.numpy()), jnp.asarray(lrs)
    rule, k = optax.scale_by_adam(), len(lrs)

    def cost(parameters, x, y):
        logits = x @ parameters["weight"] + parameters["bias"]
        data_term = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return data_term + l2 / 2 * (parameters["weight"] ** 2).sum(), data_term

    def member(parameters, state, lr, x, y):
        (_, data_term), gradient = jax.value_and_grad(cost, has_aux=True)(parameters, x, y)
        direction, state = rule.update(gradient, state)
        return jax.tree.map(lambda p, d: p - lr * d, parameters, direction), state, data_term

    @jax.jit
    def step(parameters, state, t, x, y, batch):
        update = jax.vmap(member, in_axes=(0, 0, 0, None, None))
        return update(parameters, state, rates / jnp.sqrt(t), x[batch], y[batch])

    parameters = {"weight": jnp.zeros((k, 784, 10)), "bias": jnp.zeros((k, 10))}
    state = jax.vmap(rule.init)(parameters)
    t = 0.0
    for epoch in itertools.count(1):
        for batch in epoch_order(len(data.train_y), 0, epoch).split(batch_size)[:-1]:
            t += 1
            parameters, state, costs = step(parameters, state, t, x, y, batch.numpy())
            costs.block_until_ready()
            yield
