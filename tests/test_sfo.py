"""SFO on problems whose optimum is known, on real digits, and where it cannot work."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from adam_repro.optimizers import SFO, SGD
from adam_repro.optimizers.sfo.hessian import bfgs
from adam_repro.optimizers.sfo.subspace import Subspace


def quadratics(D=30, N=6):
    """N positive definite quadratic functions, and the minimum of their sum."""
    random = torch.Generator().manual_seed(0)
    roots = torch.randn(N, D, D, generator=random, dtype=torch.float64)
    A = roots @ roots.mT / D + 0.1 * torch.eye(D, dtype=torch.float64)
    b = torch.randn(N, D, generator=random, dtype=torch.float64)
    optimum = torch.linalg.solve(A.sum(0), (A @ b[..., None]).sum(0)[:, 0])
    return lambda i, x: (x - b[i]) @ A[i] @ (x - b[i]) / 2, optimum


def descended(f, x, passes, N=6, **settings):
    """The optimizer behind so many passes, and the numbers of the subfunctions that it has evaluated."""
    optimizer = SFO([x], subfunctions=N, **settings)
    evaluated = []

    def closure():
        optimizer.zero_grad()
        evaluated.append(optimizer.chosen)
        value = f(optimizer.chosen, x)
        value.backward()
        return value

    for _ in range(passes * N):
        optimizer.step(closure)
    return optimizer, evaluated


@pytest.mark.parametrize(("dtype", "passes", "close"), [(torch.float64, 30, 1e-9), (torch.float32, 12, 1e-4)])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_optimum_of_a_sum_of_quadratics_is_reached_whatever_their_scale(dtype, passes, close, scale):
    f, optimum = quadratics()
    x = torch.zeros(30, dtype=dtype, requires_grad=True)
    descended(lambda i, x: scale * f(i, x.double()), x, passes)
    assert (x - optimum).norm() < close * optimum.norm()


def test_subfunctions_become_active_one_by_one_and_all_of_them_have_their_turns():
    f, _ = quadratics()
    _, evaluated = descended(f, torch.zeros(30, dtype=torch.float64, requires_grad=True), 10)
    assert evaluated[:2] == [0, 1]
    firsts = [evaluated.index(i) for i in range(6)]
    assert firsts == sorted(firsts)
    assert min(evaluated[30:].count(i) for i in range(6)) >= 3


def test_equal_runs_are_equal_bit_for_bit_and_a_copy_starts_anew():
    f, _ = quadratics()
    ends = []
    for _ in range(2):
        x = torch.zeros(30, requires_grad=True)
        optimizer, _ = descended(lambda i, x: f(i, x.double()), x, 5)
        ends.append(x.detach())
    assert torch.equal(*ends)
    assert optimizer.models is not None
    twin = copy.deepcopy(optimizer)
    assert twin.models is None and twin.chosen == 0 and twin.subfunctions == 6


def digits(N):
    from sklearn.datasets import load_digits

    loaded = load_digits()
    x, y = torch.tensor(loaded.data / 16, dtype=torch.float32), torch.tensor(loaded.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return [(x[part], y[part]) for part in order.tensor_split(N)]


def regression(parts):
    model = torch.nn.Linear(64, 10)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)

    def cost(i):
        x, y = parts[i]
        return cross_entropy(model(x), y) + 1e-3 / 2 * model.weight.square().sum()

    return model, cost


def test_it_needs_fewer_passes_than_sgd_at_its_best_on_a_logistic_regression_of_real_digits():
    N, passes = 10, 8
    parts = digits(N)

    def end(optimizer, cost, choice):
        for k in range(passes * N):

            def closure(k=k):
                optimizer.zero_grad()
                value = cost(choice(optimizer, k))
                value.backward()
                return value

            optimizer.step(closure)
        with torch.no_grad():
            return sum(cost(i).item() for i in range(N)) / N

    model, cost = regression(parts)
    sfo = end(SFO(model.parameters(), subfunctions=N), cost, lambda optimizer, k: optimizer.chosen)
    others = []
    for lr in (0.3, 1.0, 3.0, 10.0):
        model, cost = regression(parts)
        others.append(end(SGD(model.parameters(), lr=lr), cost, lambda optimizer, k: k % N))
    assert others[-1] > min(others) < others[0], "the best rate lies inside"
    assert sfo < min(others)


def test_what_is_remembered_grows_linearly_with_the_number_of_subfunctions():
    f, _ = quadratics(D=400, N=16)
    sizes = []
    for N in (4, 8, 16):
        x = torch.zeros(400, dtype=torch.float64, requires_grad=True)
        optimizer, _ = descended(f, x, 6, N=N)
        assert optimizer.subspace.P.shape == (SFO.directions(N), 400)
        sizes.append(optimizer.subspace.P.nbytes)
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0]) == 8 * 3 * 400 * 8


def test_a_bad_step_is_taken_back_and_the_next_is_shorter():
    """f falls gently and then there is a wall, of which the models know nothing."""
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    taken = []

    def wall(i, x):
        taken.append(x.detach().clone())
        return (-x[0] + 0.005 * x[0] ** 2 + torch.exp(40 * (x[0] - 3)) + (x[1] - i) ** 2) / 2

    descended(wall, x, 20, N=2)
    costs = [float(wall(0, point)) for point in taken[:40]]
    worst = costs.index(max(costs))
    assert max(costs) > 1e3, "it has run into the wall"
    assert (taken[worst + 1] - taken[worst - 1]).norm() < (taken[worst] - taken[worst - 1]).norm()
    assert costs[worst + 1] < 1, "and is back before it"


def test_a_cost_that_is_not_finite_halves_the_step_that_led_there():
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = SFO([x], subfunctions=2)

    def closure(factor=1.0):
        optimizer.zero_grad()
        value = factor * (x - 1).square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    step = x.detach().clone()
    optimizer.step(lambda: closure(torch.inf))
    assert torch.allclose(x.detach(), step / 2)


def test_bfgs_finds_a_hessian_that_its_history_spans_and_keeps_it_positive():
    random = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=random, dtype=torch.float64)
    A = root @ root.T + torch.eye(5, dtype=torch.float64)
    dx = torch.linalg.eigh(A).eigenvectors.T  # conjugate directions: BFGS is exact for them
    H = bfgs(dx, dx @ A)
    assert torch.allclose(H @ dx[2], A @ dx[2])
    assert torch.allclose(torch.stack([H @ one for one in torch.eye(5, dtype=torch.float64)]), A)
    dg = dx @ A
    dg[1] *= -1
    eigenvalues = H.beta + bfgs(dx, dg).excess
    assert (eigenvalues > 0).all()
    assert bfgs(dx[:1], -dx[:1] @ A) is None


def test_a_collapsed_subspace_holds_what_it_was_to_hold_and_stays_orthonormal():
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(40, 1000, generator=random)
    subspace = Subspace(12, vectors[0])
    kept = torch.zeros(3, 12, dtype=torch.float64)
    for turn in range(4):
        for vector in vectors[9 * turn : 9 * turn + 9]:
            latest = subspace.extended(vector)
        kept[turn % 3] = latest
        before = [subspace.vector(one) for one in kept]
        kept = kept @ subspace.collapse(kept).T
        for one, was in zip(kept, before, strict=True):
            assert torch.allclose(subspace.vector(one), was, atol=1e-5)
        assert subspace.K == 3
        assert torch.allclose(subspace.P[:3] @ subspace.P[:3].T, torch.eye(3), atol=1e-5)
    assert torch.allclose(subspace.vector(subspace.extended(vectors[0])), vectors[0], atol=1e-5)
    assert subspace.K == 4
    subspace.extended(vectors[0])
    assert subspace.K == 4, "what it has already makes no direction"


def test_what_it_cannot_do_is_refused_with_the_reason():
    x, y = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    with pytest.raises(ValueError, match="one group"):
        SFO([{"params": [x]}, {"params": [y]}])
    with pytest.raises(ValueError, match="one dtype"):
        SFO([x, torch.zeros(3, dtype=torch.float64, requires_grad=True)])
    with pytest.raises(ValueError, match="needs a closure"):
        SFO([x]).step(None)
    with pytest.raises(ValueError, match="one here is missing"):
        SFO([x, y]).step(lambda: x.sum().backward() or 1.0)
    x.grad = torch.zeros(3).to_sparse()
    with pytest.raises(ValueError, match="dense gradients.*sparse"):
        SFO([x]).step(lambda: 1.0)
    for wrong in ({"subfunctions": 1}, {"subfunctions": 2.5}, {"history": 0}, {"lr": -1}, {"lr": 2}, {"lr": True}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{name}={value!r} is not allowed"):
            SFO([y], **wrong)
