"""Products with a sparse bag of words and their gradients, against the dense matrix in float64; dropout of its ones."""

from __future__ import annotations

import pytest
import torch
from tiny_data import sparse_rows

from adam_repro.dropout import kept
from adam_repro.padded import SparseTimes

WORDS = 9
ROWS = {
    "some": [[0, 3, 8], [], [1], list(range(9)), [], [8, 2], []],
    "no ones": [[], []],
    "one": [[2]],
    "no rows": [],
}
every_matrix = pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@every_matrix
@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_a_product_and_its_transpose_are_those_of_the_dense_matrix(rows, n, dtype, tolerance):
    torch.manual_seed(0)
    whole = sparse_rows(rows, WORDS)
    for matrix in (whole, whole.dropped(0.5), whole[1:5], whole.dropped(0.2)[1:]):
        dense = matrix.to_dense().double()
        weight, g = random(WORDS, n), random(len(matrix), n)
        for got, expected in (
            (matrix.times(weight.to(dtype)), dense @ weight),
            (matrix.transposed_times(g.to(dtype)), dense.T @ g),
        ):
            assert got.dtype is dtype and got.is_contiguous()
            torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


def test_a_gradient_that_lies_in_memory_in_another_order_is_the_same_gradient():
    matrix = sparse_rows(ROWS["some"], WORDS)
    g = random(3, 7).t()
    torch.testing.assert_close(matrix.transposed_times(g), matrix.transposed_times(g.contiguous()), rtol=0, atol=0)
    expanded = torch.ones(1, 1, dtype=torch.float64).expand(7, 2)
    torch.testing.assert_close(
        matrix.transposed_times(expanded), matrix.to_dense().double().sum(0)[:, None].repeat(1, 2)
    )


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_the_gradient_is_the_derivative_of_the_product(p):
    torch.manual_seed(0)
    matrix = sparse_rows(ROWS["some"], WORDS).dropped(p)
    weight = random(WORDS, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: SparseTimes.apply(matrix, w), weight)


def test_a_gradient_reaches_through_what_comes_before_and_after():
    matrix = sparse_rows(ROWS["some"], WORDS)
    gradients = []
    for times in (lambda w: SparseTimes.apply(matrix, w), lambda w: matrix.to_dense().double() @ w):
        weight = random(WORDS, 2).requires_grad_()
        (times(weight.tanh()).exp() * random(7, 2, seed=1)).sum().backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_dropout_leaves_out_the_ones_that_its_noise_names_and_scales_the_others(p):
    whole = sparse_rows([[0, 3, 8], [], [1], list(range(9)), []] * 20, WORDS)
    torch.manual_seed(3)
    got = whole.dropped(p)
    torch.manual_seed(3)
    stays = kept(len(whole.columns), p)
    expected = whole.to_dense().double()
    expected[expected == 1] = stays.double() / (1 - p)
    torch.testing.assert_close(got.to_dense(), expected.float(), rtol=1e-6, atol=0)
    assert got.starts[-1] == len(got.columns) == stays.sum() < len(whole.columns)


def test_dropout_leaves_its_source_alone_and_its_scales_multiply():
    torch.manual_seed(0)
    whole = sparse_rows([list(range(9))] * 200, WORDS)
    before = whole.to_dense()
    twice = whole.dropped(0.5).dropped(0.75)
    assert torch.equal(whole.to_dense(), before)
    assert twice.to_dense().unique().tolist() == [0.0, 8.0]
    assert twice.to_dense().mean().item() == pytest.approx(1, abs=4.5 * (7 / 1800) ** 0.5)


def test_nothing_is_drawn_for_zeros():
    dense_noise, sparse_noise = [], []
    for width, noise in ((WORDS, dense_noise), (10**6, sparse_noise)):
        torch.manual_seed(0)
        noise += sparse_rows(ROWS["some"], width).dropped(0.5).columns.tolist()
    assert dense_noise == sparse_noise
