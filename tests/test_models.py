"""The paper's models: shapes, sizes, initial parameters, and noise that depends on seed and epoch alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tiny_data import CLASSES, FEATURES, WORDS, sparse_rows, tiny, tiny_pixels, tiny_words
from torch.nn.functional import conv2d, cross_entropy, max_pool2d

from adam_repro.gradients import backward
from adam_repro.models import CNN, MLP, VAE, LogisticRegression
from adam_repro.models.vae import _bounds, _cost_and_gradients
from adam_repro.optimizers import SGD, Adam
from adam_repro.schedules import constant
from adam_repro.training import Solo, train


def small(**rates):
    torch.manual_seed(0)
    return MLP(FEATURES, [8, 8], CLASSES, **{"input_dropout": 0.2, "hidden_dropout": 0.5, **rates})


def learner(optimizer=Adam, model=None, lr=0.01):
    model = model or small()
    return Solo(model, optimizer(model.parameters(), lr=lr), schedule=constant, l2=0.0)


def costs(solo, *, seed=0, epochs=3):
    rows = train(solo, tiny(), seed=seed, epochs=epochs, batch_size=8, evaluate_at=None)
    return [(row.train_cost.item(), row.test_loss.item()) for row in rows][1:]


def test_the_papers_network_has_its_size():
    model = MLP(784, [1000, 1000], 10, input_dropout=0.2, hidden_dropout=0.5)
    assert sum(p.numel() for p in model.parameters()) == 784 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 * 10 + 10
    assert model(torch.zeros(3, 784)).shape == (3, 10)


def test_weights_start_with_the_variance_that_rectified_units_keep_and_biases_at_zero():
    model = MLP(784, [1000, 1000], 10, input_dropout=0.0, hidden_dropout=0.0)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert p.eq(0).all()
        else:
            assert p.var().item() == pytest.approx(2 / p.shape[1], rel=0.1)


def test_dropout_leaves_out_and_scales_up_in_training_and_does_nothing_in_evaluation():
    model = small(input_dropout=0.5, hidden_dropout=0.0)
    seen = []
    model.layers[1].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    model(torch.ones(4000, FEATURES))
    assert set(seen[0].flatten().tolist()) == {0.0, 2.0}
    assert seen[0].mean().item() == pytest.approx(1, abs=0.05)
    model.eval()
    model(torch.ones(4, FEATURES))
    assert seen[1].eq(1).all()


def test_equal_seeds_see_equal_noise_whatever_was_drawn_before_and_whatever_their_optimizer(monkeypatch):
    masks = []
    for optimizer, drawn in ((Adam, 0), (SGD, 7)):
        model = small(hidden_dropout=0.0)
        input_dropout = model.layers[0]
        monkeypatch.setattr(
            input_dropout, "draw", lambda *args, draw=input_dropout.draw: masks[-1].append(draw(*args)) or masks[-1][-1]
        )
        torch.rand(drawn)
        masks.append([])
        costs(learner(optimizer, model))
    masks = [[mask for mask in drawn if mask is not None] for drawn in masks]  # evaluations draw none
    assert len(masks[0]) == len(masks[1]) == 3 * 4
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))
    assert not torch.equal(masks[0][0], masks[0][4]), "another epoch has other noise"


def test_a_run_with_dropout_repeats_itself_and_another_seed_is_another_run():
    assert costs(learner()) == costs(learner()) != costs(learner(), seed=1)


def test_without_dropout_the_network_learns():
    found = costs(learner(model=small(input_dropout=0.0, hidden_dropout=0.0), lr=0.05), epochs=30)
    assert found[-1][0] < 0.5 * found[0][0]


def logistic_regression(**rates):
    """In float64, with weights that are not zero."""
    model = LogisticRegression(WORDS, **{"input_dropout": 0.0, **rates}).double()
    with torch.no_grad():
        model.weight[:, 0] = torch.sin(torch.arange(WORDS, dtype=torch.float64) ** 1.3)
        model.bias[:] = 0.3
    return model


def test_a_logistic_regression_starts_at_zero_and_maps_words_to_one_logit():
    model = LogisticRegression(WORDS, input_dropout=0.5)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {"weight": (WORDS, 1), "bias": (1,)}
    assert all(p.eq(0).all() for p in model.parameters())
    assert torch.equal(model(tiny_words().test_x), torch.zeros(10))
    assert model.cost(tiny_words().test_x, tiny_words().test_y).item() == pytest.approx(math.log(2), rel=1e-6)


def test_a_logistic_regression_on_sparse_words_is_the_dense_one_cost_and_gradient():
    data, model = tiny_words(), logistic_regression()
    x, y = data.train_x.to_dense().double(), data.train_y
    logits = (x @ model.weight + model.bias)[:, 0].detach()
    cost = model.cost(data.train_x, y)
    cost.backward()
    torch.testing.assert_close(cost.detach(), torch.log1p(torch.exp(logits * (1 - 2 * y))).mean(), rtol=1e-14, atol=0)
    error = (1 / (1 + torch.exp(-logits)) - y) / len(y)
    torch.testing.assert_close(model.weight.grad, (x.T @ error)[:, None], rtol=1e-13, atol=1e-16)
    torch.testing.assert_close(model.bias.grad, error.sum()[None], rtol=1e-13, atol=1e-16)


def test_a_logistic_regression_is_a_softmax_of_two_classes_half_its_logit_either_way():
    data, model = tiny_words(), logistic_regression()
    logits = model(data.train_x).detach()
    halves = torch.stack((-logits / 2, logits / 2), dim=1)
    torch.testing.assert_close(model.cost(data.train_x, data.train_y).detach(), cross_entropy(halves, data.train_y))
    costs, hits = model.eval().judged(data.train_x, data.train_y)
    torch.testing.assert_close(costs.detach(), cross_entropy(halves, data.train_y, reduction="none"))
    assert torch.equal(hits, (halves.argmax(1) == data.train_y).double()) and 0 < hits.mean() < 1


def test_words_are_left_out_in_training_alone_and_those_that_stay_count_double():
    torch.manual_seed(0)
    model, reviews = logistic_regression(input_dropout=0.5), sparse_rows([[3]] * 4000, WORDS)
    logits = (model(reviews) - model.bias).detach() / model.weight[3].item()
    assert logits.unique().tolist() == pytest.approx([0, 2], abs=1e-12)
    assert logits.mean().item() == pytest.approx(1, abs=4.5 / 4000**0.5)
    torch.testing.assert_close(model.eval()(reviews), (model.weight[3] + model.bias).expand(4000))


@pytest.fixture(scope="module")
def cnn():
    torch.manual_seed(0)
    return CNN(3, 10, input_dropout=0.0, hidden_dropout=0.0)


def test_the_papers_convolutional_network_has_its_size_and_its_channels_innermost(cnn):
    shapes = [(64, 3, 5, 5), (64, 64, 5, 5), (128, 64, 5, 5), (1000, 128 * 4 * 4), (10, 1000)]
    weights = [p for name, p in cnn.named_parameters() if name.endswith("weight")]
    assert [tuple(weight.shape) for weight in weights] == shapes
    assert sum(p.numel() for p in cnn.parameters()) == 2_371_266
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights[:3])


def test_an_image_shrinks_by_halves_with_channels_innermost_and_gradients_lie_as_their_weights(cnn):
    seen = []
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output))
        for name, layer in cnn.layers.named_children()
        if name.startswith(("conv", "pool"))
    ]
    logits = cnn(torch.rand(2, 3, 32, 32))
    for handle in handles:
        handle.remove()
    assert [tuple(output.shape[1:]) for output in seen] == [
        (64, 32, 32),
        (64, 16, 16),
        (64, 16, 16),
        (64, 8, 8),
        (128, 8, 8),
        (128, 4, 4),
    ]
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in seen)
    assert logits.shape == (2, 10)
    gradients = torch.autograd.grad(logits.sum(), list(cnn.parameters()))
    assert [g.stride() for g in gradients] == [p.stride() for p in cnn.parameters()]


def test_rectifying_behind_the_maximum_is_rectifying_before_it_gradients_too(cnn):
    torch.manual_seed(1)
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([3, 7])
    hidden = x
    for stage in (1, 2, 3):
        convolution = cnn.layers.get_submodule(f"conv{stage}")
        rectified = conv2d(hidden, convolution.weight, convolution.bias, padding=2).relu()
        hidden = max_pool2d(rectified, 3, stride=2, ceil_mode=True)
    hidden = (hidden.flatten(1) @ cnn.layers.hidden.weight.t() + cnn.layers.hidden.bias).relu()
    expected = cross_entropy(hidden @ cnn.layers.output.weight.t() + cnn.layers.output.bias, y)
    cost = cnn.cost(x, y)
    torch.testing.assert_close(cost, expected, rtol=1e-5, atol=0)
    parameters = list(cnn.parameters())
    for got, wanted in zip(
        torch.autograd.grad(cost, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


def test_the_convolutional_network_starts_with_variance_2_over_inputs_and_biases_at_zero(cnn):
    for name, p in cnn.named_parameters():
        if name.endswith("bias"):
            assert p.eq(0).all()
        else:
            assert p.var().item() == pytest.approx(2 / p[0].numel(), rel=0.1)


def test_the_convolutional_network_leaves_out_pixels_and_hidden_units():
    model = CNN(3, 10, input_dropout=0.25, hidden_dropout=0.5)
    seen = []
    for name in ("conv1", "output"):
        model.layers.get_submodule(name).register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    torch.manual_seed(0)
    model(torch.ones(4, 3, 32, 32))
    model.eval()(torch.ones(4, 3, 32, 32))
    assert set(seen[0].flatten().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert seen[0].mean().item() == pytest.approx(1, abs=4.5 * (1 / 3 / seen[0].numel()) ** 0.5)
    assert seen[2].eq(1).all()
    left_out = (seen[1] == 0) & (seen[3] > 1e-6)
    assert 0.4 < left_out.sum() / (seen[3] > 1e-6).sum() < 0.6


def vae(pixels=FEATURES):
    torch.manual_seed(0)
    model = VAE(pixels, 4, 3).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return model


def test_the_papers_autoencoder_has_its_size_and_starts_small():
    torch.manual_seed(0)
    model = VAE(784, 500, 50)
    layers = [784 * 500 + 500, 500 * 2 * 50 + 2 * 50, 50 * 500 + 500, 500 * 784 + 784]
    assert sum(p.numel() for p in model.parameters()) == sum(layers)
    for name, p in model.named_parameters():
        assert p.eq(0).all() if name.endswith("bias") else p.std().item() == pytest.approx(0.01, rel=0.05)
    assert model(torch.rand(2, 784)).shape == (2,)


def assert_gradients(model, cost, minibatch, *, noise, **tolerance):
    """The model's cost and its gradients are those of ``cost``, by whichever way they are asked for."""
    parameters = list(model.parameters())
    expected = torch.autograd.grad(cost, parameters)
    torch.manual_seed(noise)
    ours = model.cost(*minibatch)
    torch.testing.assert_close(ours, cost, **tolerance)
    for factor, got in (
        (1, torch.autograd.grad(ours, parameters, retain_graph=True)),
        (3, torch.autograd.grad(3 * ours, parameters)),
    ):
        torch.testing.assert_close(got, tuple(factor * gradient for gradient in expected), **tolerance)
    torch.manual_seed(noise)
    torch.testing.assert_close(backward(model, *minibatch), ours.detach(), **tolerance)
    torch.testing.assert_close(tuple(p.grad for p in parameters), expected, **tolerance)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5, 7)], ids=len)
@pytest.mark.parametrize("rates", [(0.2, 0.5), (0.3, 0.0), (0.0, 0.4), (0.0, 0.0)], ids=str)
def test_the_networks_written_out_gradient_is_that_of_automatic_differentiation(rates, hidden):
    torch.manual_seed(0)
    model = MLP(FEATURES, hidden, CLASSES, input_dropout=rates[0], hidden_dropout=rates[1]).double()
    data = tiny(dtype=torch.float64)
    for training in (True, False):
        model.train(training)
        torch.manual_seed(7)
        cost = cross_entropy(model(data.train_x), data.train_y)
        assert_gradients(model, cost, (data.train_x, data.train_y), noise=7, rtol=1e-12, atol=1e-15)


def test_one_compiled_program_is_the_network_for_minibatches_of_every_size_and_dropout_of_any_rate(compiler):
    torch._dynamo.reset()  # what other tests have compiled would serve here, or count
    torch._dynamo.utils.counters.clear()
    programs = set()
    for rows, (input_dropout, hidden_dropout) in itertools.product((7, 5), ((0.2, 0.5), (0.1, 0.3))):
        model = small(input_dropout=input_dropout, hidden_dropout=hidden_dropout)
        x, y = torch.rand(rows, FEATURES), torch.arange(rows) % CLASSES
        torch.manual_seed(7)
        cost = cross_entropy(model(x), y)
        assert_gradients(model, cost, (x, y), noise=7, rtol=1e-5, atol=1e-6)
        programs.add(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert programs == {1}


@pytest.mark.parametrize("build", [small, lambda: vae(), lambda: CNN(3, 10, input_dropout=0.0, hidden_dropout=0.0)])
def test_gradients_reach_hooks_and_spare_what_takes_none(build):
    """For optimizers that step from within a backward pass, and for networks part of which is not to be trained."""
    model = build().float()
    x, y = (torch.rand(4, 3, 32, 32) if isinstance(model, CNN) else torch.rand(4, FEATURES)), torch.arange(4) % CLASSES
    first, *others = model.parameters()
    seen = []
    first.register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.clone()))
    others[0].register_hook(lambda gradient: 2 * gradient)
    others[1].requires_grad_(False)
    torch.manual_seed(7)
    cost = backward(model, x, y)
    gradients = [p.grad for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    torch.manual_seed(7)
    expected = model.cost(x, y)
    expected.backward()
    assert torch.equal(cost, expected.detach()) and len(seen) == 2
    assert gradients[2] is None and others[1].grad is None
    for got, parameter in zip(gradients, model.parameters(), strict=True):
        assert got is None or torch.equal(got, parameter.grad)


def test_a_subclass_is_trained_on_what_it_computes():
    class Smooth(MLP):
        def cost(self, x, y):
            return cross_entropy(self(x), y, label_smoothing=0.5)

    class Flat(MLP):
        def forward(self, x):
            return super().forward(x) / 10

    for kind in (Smooth, Flat):
        torch.manual_seed(0)
        model = kind(FEATURES, [8], CLASSES, input_dropout=0.0, hidden_dropout=0.0)
        data = tiny()
        expected = model.cost(data.train_x, data.train_y)
        gradients = torch.autograd.grad(expected, list(model.parameters()))
        assert torch.equal(backward(model, data.train_x, data.train_y), expected.detach())
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))


def bound_by_hand(model, x, noise):
    """log p(x|z) - KL(q || p), image by image, as equation 10 of Kingma & Welling has it."""

    def affine(layer, inputs):
        return inputs @ layer.weight.t() + layer.bias

    def softplus(inputs):
        return torch.log(1 + torch.exp(inputs))

    mean, log_variance = affine(model.posterior, softplus(affine(model.encoder, x))).split(3, dim=1)
    z = mean + torch.exp(log_variance).sqrt() * noise
    pixels = 1 / (1 + torch.exp(-affine(model.likelihood, softplus(affine(model.decoder, z)))))
    likelihood = (x * torch.log(pixels) + (1 - x) * torch.log(1 - pixels)).sum(1)
    return likelihood + (1 + log_variance - mean**2 - torch.exp(log_variance)).sum(1) / 2


def test_the_autoencoders_cost_is_the_negative_bound_for_its_noise_gradient_too():
    model, data = vae(), tiny_pixels(dtype=torch.float64)
    torch.manual_seed(7)
    bounds = bound_by_hand(model, data.train_x, torch.randn(len(data.train_y), 3, dtype=torch.float64))
    torch.manual_seed(7)
    cost = model.cost(data.train_x, data.train_y)
    torch.manual_seed(7)
    judged, hits = model.judged(data.train_x, data.train_y)
    torch.testing.assert_close(judged, -bounds, rtol=1e-12, atol=0)
    torch.testing.assert_close(cost, -bounds.mean(), rtol=1e-12, atol=0)
    assert hits.shape == bounds.shape and hits.isnan().all()
    assert_gradients(model, -bounds.mean(), (data.train_x, data.train_y), noise=7, rtol=1e-10, atol=1e-13)


def test_a_compiled_autoencoder_is_the_same_for_minibatches_of_every_size(compiler):
    model = vae()
    for rows in (6, 4):
        x, noise = torch.rand(rows, FEATURES).double(), torch.randn(rows, 3).double()
        expected = -bound_by_hand(model, x, noise)
        wanted = torch.autograd.grad(expected.mean(), list(model.parameters()))
        given = (x.float(), noise.float(), *(p.detach().float() for p in model.parameters()))
        torch.testing.assert_close(_bounds(*given).double(), expected.detach(), rtol=1e-6, atol=0)
        cost, got = _cost_and_gradients(*given)
        torch.testing.assert_close(cost.double(), expected.detach().mean(), rtol=1e-6, atol=0)
        for ours, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_a_second_derivative_of_the_autoencoder_is_refused_and_not_wrong():
    model, x = vae(), tiny_pixels(dtype=torch.float64).train_x
    (slope,) = torch.autograd.grad(model.cost(x, x).square(), model.encoder.bias, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_divergence_in_closed_form_is_that_of_samples():
    model, mean, log_variance = vae(), torch.tensor([0.5, -2.0, 0.0]), torch.tensor([0.0, -1.5, 1.0])
    with torch.no_grad():
        for layer in (model.posterior, model.likelihood):
            layer.weight.zero_()
            layer.bias.zero_()
        model.posterior.bias[:] = torch.cat((mean, log_variance))
    x = tiny_pixels(dtype=torch.float64).train_x
    divergence = model.cost(x, x).item() - FEATURES * math.log(2)  # pixels of probability 1/2, whatever z is
    q, prior = torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    torch.manual_seed(0)
    z = q.sample((100_000,))
    samples = (q.log_prob(z) - prior.log_prob(z)).sum(1)
    assert divergence == pytest.approx(samples.mean().item(), abs=4.5 * samples.std().item() / 100_000**0.5)
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(3), torch.ones(3))).sum()
    assert divergence == pytest.approx(exact.item(), rel=1e-6)


def bounds(*, seed=0, batch_size=8, lr=0.0, drawn=0):
    model = vae()
    torch.rand(drawn)
    learner = Solo(model, SGD(model.parameters(), lr=lr), schedule=constant, l2=0.0)
    data = tiny_pixels(dtype=torch.float64)
    rows = list(train(learner, data, seed=seed, epochs=2, batch_size=batch_size, evaluate_at=None))
    assert all(row.test_accuracy.isnan().all() for row in rows)
    return [row.train_loss.item() for row in rows], [row.test_loss.item() for row in rows]


def test_a_bound_on_test_images_has_noise_that_depends_on_seed_and_epoch_alone():
    still, again = bounds(), bounds(batch_size=28, drawn=5)
    assert still == again, "whatever was drawn before, in training or elsewhere"
    assert len(set(still[1])) == 3, "other noise in each epoch"
    assert bounds(seed=1)[1][0] != still[1][0]
    assert bounds(lr=0.1) == bounds(lr=0.1) != still
