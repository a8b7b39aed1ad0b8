"""Either library gives the product."""

import pytest
import torch

from adam_repro import products, surroundings
from adam_repro.products import Linear, product


@pytest.mark.parametrize(
    "onednn", [False, pytest.param(True, marks=pytest.mark.skipif(not products.HAS_ONEDNN, reason="no oneDNN"))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_is_the_product_for_rows_columns_and_transposes(monkeypatch, onednn, dtype):
    monkeypatch.setattr(products, "ONEDNN", onednn)
    generator = torch.Generator().manual_seed(0)
    for m, n, k in ((1, 1, 1), (30, 7, 785), (240, 96, 800)):
        a = torch.randn(m, k, generator=generator, dtype=dtype)
        b = torch.randn(n, k + 16, generator=generator, dtype=dtype)[:, :k]  # rows that lie apart in memory
        bias = torch.randn(n, generator=generator, dtype=dtype)
        expected = (a[:, None].double() * b.double()).sum(2).to(dtype)
        for right in (b, b.contiguous(), b.t().contiguous().t()):
            got = product(a, right)
            assert got.shape == (m, n) and got.dtype == dtype and got.is_contiguous()
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
            torch.testing.assert_close(product(a, right, bias), expected + bias, rtol=1e-5, atol=1e-4)


def test_a_left_factor_may_be_transposed(monkeypatch):
    a, b = torch.randn(96, 30), torch.randn(96, 20)
    for onednn in (False, products.HAS_ONEDNN):
        monkeypatch.setattr(products, "ONEDNN", onednn)
        torch.testing.assert_close(product(a.t(), b.t()), torch.einsum("ki,kj->ij", a, b), rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(not products.HAS_ONEDNN, reason="no oneDNN")
def test_a_compiled_function_may_have_products_by_onednn(monkeypatch, compiler):
    monkeypatch.setattr(products, "ONEDNN", True)
    function = torch.compile(lambda a, b, bias: product(a, b, bias).relu() + product(a * 2, b), dynamic=True)
    for rows in (7, 30):
        a, b, bias = torch.randn(rows, 20), torch.randn(20, 9).t(), torch.randn(9)
        torch.testing.assert_close(function(a, b, bias), (a @ b.t() + bias).relu() + 2 * a @ b.t())


@pytest.mark.parametrize(
    ("maker", "simd", "onednn"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_onednn_multiplies_where_mkl_leaves_registers_half_empty(monkeypatch, maker, simd, onednn):
    monkeypatch.setattr(products, "vendor", lambda: maker)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: simd)
    assert products.onednn_is_faster() == onednn


@pytest.mark.parametrize(
    ("told", "expected"),
    [("processor : 0\nvendor_id\t: AuthenticAMD\nmodel name : QEMU\n", "AuthenticAMD"), ("", "GenuineIntel")],
)
def test_the_maker_of_the_processor_is_read_where_the_system_tells_it(monkeypatch, tmp_path, told, expected):
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(surroundings, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(surroundings.platform, "processor", lambda: "AMD64 Family 25, GenuineIntel")
    assert surroundings.vendor() == expected


def test_a_layer_and_its_gradients_are_those_of_torch():
    torch.manual_seed(0)
    ours, theirs = Linear(20, 7).double(), torch.nn.Linear(20, 7).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, x)
    for layer in (ours, theirs):
        (layer(x) ** 2).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_a_layer_takes_no_gradient_of_its_input_where_none_is_asked_for():
    layer = Linear(4, 3)
    x = torch.ones(2, 4)
    layer(x).sum().backward()
    assert x.grad is None and layer.weight.grad.eq(2).all() and layer.bias.grad.eq(2).all()
