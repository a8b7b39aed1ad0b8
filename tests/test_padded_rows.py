"""Padded rows of words are the sparse rows that they are made of, and no step on them reads a number back."""

from __future__ import annotations

import pytest
import torch
from test_in_step import CUDA, MODELS, build, in_step, padded_words, solo
from test_population import member, results
from test_sparse_products import ROWS, WORDS, random
from tiny_data import sparse_rows, tiny_words
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from adam_repro.compilation import in_a_run_of
from adam_repro.dropout import kept
from adam_repro.models import LogisticRegression
from adam_repro.optimizers import Adam
from adam_repro.padded import PaddedRows, SparseTimes
from adam_repro.schedules import constant
from adam_repro.training import Solo

every_matrix = pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)


def dense(padded):
    return padded.times(torch.eye(padded.width, dtype=torch.float64))


@every_matrix
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_products_and_their_gradients_are_those_of_sparse_rows(rows, n, dtype, tolerance):
    sparse = sparse_rows(rows, WORDS)
    padded = PaddedRows.of(sparse)
    assert padded.shape == sparse.shape and len(padded) == len(sparse)
    assert torch.equal(dense(padded), sparse.to_dense().double())
    weight, g = random(WORDS, n, dtype=dtype).requires_grad_(), random(len(rows), n, dtype=dtype)
    product = SparseTimes.apply(padded, weight)
    torch.testing.assert_close(product, sparse.times(weight.detach()), rtol=tolerance, atol=tolerance)
    (gradient,) = torch.autograd.grad(product, weight, g)
    assert gradient.is_contiguous()
    torch.testing.assert_close(gradient, sparse.transposed_times(g), rtol=tolerance, atol=tolerance)


def test_rows_are_cut_and_chosen_as_those_of_sparse_rows():
    sparse = sparse_rows(ROWS["some"], WORDS)
    padded, index = PaddedRows.of(sparse), torch.tensor([6, 3, 3, 0])
    expected = sparse.to_dense().double()
    assert torch.equal(dense(padded[2:5]), expected[2:5])
    assert torch.equal(dense(padded.index_select(0, index)), expected[index])
    assert torch.equal(torch.cat([dense(part) for part in padded.split(3)]), expected)
    assert [len(part) for part in padded.split(3)] == [3, 3, 1]


def test_a_copy_takes_new_rows_and_leaves_its_source_alone():
    padded = PaddedRows.of(sparse_rows(ROWS["some"], WORDS))
    before, other = dense(padded), padded.index_select(0, torch.arange(6, -1, -1))
    copy = padded.clone()
    copy.copy_(other)
    assert torch.equal(dense(copy), dense(other)) and torch.equal(dense(padded), before)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_dropout_leaves_out_the_ones_that_its_noise_names_and_scales_the_others(p):
    whole = PaddedRows.of(sparse_rows([[0, 3, 8], [], [1], list(range(9)), []] * 20, WORDS))
    torch.manual_seed(3)
    got = whole.dropped(p)
    torch.manual_seed(3)
    stays = kept(whole.columns.numel(), p).view(whole.columns.shape)
    expected = torch.zeros(len(whole), WORDS, dtype=torch.float64)
    rows, places = (stays & (whole.columns < WORDS)).nonzero(as_tuple=True)
    expected[rows, whole.columns[rows, places].long()] = 1 / (1 - p)
    torch.testing.assert_close(dense(got), expected)
    assert 0 < (expected > 0).sum() < (dense(whole) > 0).sum()
    assert whole.dropped(0) is whole
    assert dense(got.dropped(0.5)).unique().tolist() == pytest.approx([0, 2 / (1 - p)])


def test_places_without_a_one_have_columns_behind_the_matrix_and_share_none_within_a_row():
    padded = PaddedRows.of(sparse_rows(ROWS["some"], WORDS))
    torch.manual_seed(0)
    for rows in (padded, padded.dropped(0.5)):
        assert all(len(row.unique()) == len(row) for row in rows.columns)
        assert torch.equal((rows.columns < WORDS).sum(1), (dense(rows) > 0).sum(1))


def test_a_regression_on_padded_rows_has_the_curve_of_one_on_sparse_rows():
    def curve(data):
        model = LogisticRegression(data.train_x.width, input_dropout=0.0).double()
        return results(Solo(model, Adam(model.parameters(), lr=0.1), schedule=constant, l2=1e-3), data, 4)

    data = tiny_words()
    torch.testing.assert_close(curve(padded_words()), curve(data), rtol=1e-12, atol=0, equal_nan=True)


def step_without_numbers(kind, x, y):
    """A step on tensors that have shapes and no contents: an error where a number would have to be known."""
    model = build(kind)
    model.cost(x, y).backward()  # what is made at a first step and kept has contents
    with in_a_run_of(1), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(mode.from_tensor(parameter.detach())))
        learner = Solo(model, Adam(model.parameters(), lr=1e-3), schedule=constant, l2=1e-2)
        learner.begin_epoch(1, range(1, 2))
        faked = mode.from_tensor(x) if isinstance(x, torch.Tensor) else PaddedRows(mode.from_tensor(x.columns), x.width)
        return learner.step(faked, mode.from_tensor(y))


@pytest.mark.parametrize("kind", MODELS)
def test_no_step_of_a_model_reads_a_number_back_so_that_none_waits_for_a_gpu(kind):
    data = MODELS[kind][1]()
    assert step_without_numbers(kind, data.train_x[:8], data.train_y[:8]).shape == (1,)


def test_that_a_number_is_read_would_be_seen():
    data = MODELS["words"][1]()

    class Reads(PaddedRows):
        def dropped(self, p):
            return Reads(self.columns[self.columns[:, 0] < self.width], self.width)

    with FakeTensorMode() as mode, pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        Reads(mode.from_tensor(data.train_x.columns), WORDS).dropped(0.5)


@CUDA
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in step"])
@pytest.mark.parametrize("kind", MODELS)
def test_no_step_waits_for_the_gpu(kind, alone):
    device, one = torch.device("cuda"), member(Adam, lr=1e-3, l2=1e-2)
    data = MODELS[kind][1]().to(device)
    learner = solo(kind, one, device) if alone else in_step(kind, [one, one], device)
    learner.begin_epoch(1, range(1, 6))
    x, y = data.train_x[:8], data.train_y[:8]
    learner.step(x, y)  # compiles, and captures the graph
    torch.cuda.set_sync_debug_mode("error")
    try:
        costs = [learner.step(x, y) for _ in range(4)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(costs).isfinite().all()
