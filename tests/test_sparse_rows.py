"""Rows of words against the same as a dense matrix: slices, selections, products and noise."""

import pytest
import torch

from adam_repro.padded import SparseTimes
from adam_repro.sparse import SparseRows

ROWS = [[0, 3, 4], [], [1], [0, 1, 2, 3, 4, 5], [], [5], []]  # empty ones within and at the end


def sparse(rows=ROWS, width=6):
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return SparseRows(torch.tensor([column for row in rows for column in row], dtype=torch.int64), starts, width)


def dense(rows=ROWS, width=6):
    return torch.tensor([[float(column in row) for column in range(width)] for row in rows])


def test_the_dense_form_has_a_one_for_each_column_of_a_row():
    assert torch.equal(sparse().to_dense(), dense())
    assert len(sparse()) == 7 and sparse().shape == (7, 6)
    assert sparse().lengths.tolist() == [3, 0, 1, 6, 0, 1, 0]


@pytest.mark.parametrize(
    "part",
    [
        slice(None),
        slice(2),
        slice(1, 4),
        slice(3, None),
        slice(-3, None),
        slice(0, -2),
        slice(4, 5),
        slice(2, 100),
        slice(100, 200),
        slice(5, 2),
        slice(0),
        slice(7, None),
    ],
    ids=lambda part: f"{part.start}:{part.stop}",
)
def test_a_slice_is_the_slice_of_the_dense_matrix(part):
    rows = sparse()[part]
    assert rows.shape == dense()[part].shape
    assert rows.starts[0] == 0 and rows.starts[-1] == len(rows.columns)
    assert torch.equal(rows.to_dense(), dense()[part])


def test_a_slice_of_a_slice_counts_from_the_first_ones_beginning():
    assert torch.equal(sparse()[1:][2:4].to_dense(), dense()[3:5])


@pytest.mark.parametrize("step", [2, -1])
def test_slices_with_gaps_are_refused(step):
    with pytest.raises(ValueError, match=f"sliced without gaps, and slice.* has a step of {step}"):
        sparse()[::step]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_splits_are_those_of_the_dense_matrix(size):
    parts = sparse().split(size)
    assert [len(part) for part in parts] == [len(part) for part in dense().split(size)]
    assert torch.equal(torch.cat([part.to_dense() for part in parts]), dense())


@pytest.mark.parametrize("index", [[6, 5, 4, 3, 2, 1, 0], [3], [1, 4, 6], [3, 3, 0, 3], []])
def test_rows_are_selected_in_any_order_and_more_than_once(index):
    index = torch.tensor(index, dtype=torch.int64)
    assert torch.equal(sparse().index_select(0, index).to_dense(), dense().index_select(0, index))


def test_rows_that_were_selected_are_sliced_as_others():
    index = torch.tensor([3, 1, 0, 5])
    assert torch.equal(sparse().index_select(0, index)[1:3].to_dense(), dense()[index][1:3])


@pytest.mark.parametrize("rows", [ROWS, [[], []], [[2]]], ids=["some", "all empty", "one"])
def test_products_and_their_gradients_are_those_of_the_dense_matrix(rows):
    randomness = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 3, generator=randomness, requires_grad=True)
    g = torch.randn(len(rows), 3, generator=randomness)
    product = SparseTimes.apply(sparse(rows), weight)
    torch.testing.assert_close(product, dense(rows) @ weight)
    (gradient,) = torch.autograd.grad(product, weight, g)
    torch.testing.assert_close(gradient, dense(rows).T @ g)


def test_dropout_leaves_ones_out_and_scales_those_that_stay_through_every_operation():
    torch.manual_seed(0)
    rows = sparse([list(range(6))] * 2000).dropped(0.5)
    assert rows.to_dense().unique().tolist() == [0.0, 2.0]
    assert rows.to_dense().mean().item() == pytest.approx(1, abs=0.05)
    weight = torch.arange(12.0).view(6, 2)
    torch.testing.assert_close(rows.times(weight), rows.to_dense() @ weight)
    index = torch.tensor([7, 1999, 7])
    assert torch.equal(rows[5:].split(10)[0].index_select(0, index % 10).to_dense(), rows.to_dense()[5:15][index % 10])


def test_no_dropout_is_no_change_and_empty_rows_stay_empty():
    rows = sparse()
    assert rows.dropped(0) is rows
    assert (rows.dropped(0.5).lengths <= rows.lengths).all()
