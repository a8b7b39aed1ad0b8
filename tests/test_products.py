"""Either library gives the product."""

import pytest
import torch

from adam_repro import products
from adam_repro.products import product


@pytest.mark.parametrize(
    "onednn", [False, pytest.param(True, marks=pytest.mark.skipif(not products.ONEDNN, reason="no oneDNN"))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_is_the_product_for_rows_columns_and_transposes(monkeypatch, onednn, dtype):
    monkeypatch.setattr(products, "ONEDNN", onednn)
    generator = torch.Generator().manual_seed(0)
    for m, n, k in ((1, 1, 1), (30, 7, 785), (240, 96, 800)):
        a = torch.randn(m, k, generator=generator, dtype=dtype)
        b = torch.randn(n, k + 16, generator=generator, dtype=dtype)[:, :k]  # rows that lie apart in memory
        expected = (a[:, None].double() * b.double()).sum(2).to(dtype)
        for right in (b, b.contiguous(), b.t().contiguous().t()):
            got = product(a, right)
            assert got.shape == (m, n) and got.dtype == dtype and got.is_contiguous()
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
