"""The approximating functions: a quadratic model of each subfunction, and their sum."""

from __future__ import annotations

import torch
from torch import Tensor

from .hessian import Hessian, bfgs


class Models:
    """Quadratic models g_i of N subfunctions f_i, each about the point x_i where f_i was evaluated last::

        g_i(x) = f_i + (x - x_i)^T f_i' + 1/2 (x - x_i)^T H_i (x - x_i)

    All in coordinates of a subspace [most], of which the first K are in use. A subfunction whose history tells no
    Hessian yet has the average of those that do. While there are none, the minimum of the sum is ``first_step`` away.
    Points no farther apart than ``least_change`` make no history.
    """

    def __init__(self, N: int, most: int, *, history: int, first_step: float, least_change: float):
        self.history, self.first_step, self.least_change = history, first_step, least_change
        self.seen = torch.zeros(N, dtype=torch.bool)
        self.f = torch.zeros(N, dtype=torch.float64)
        self.x = torch.zeros(N, most, dtype=torch.float64)
        self.g = torch.zeros(N, most, dtype=torch.float64)
        self.dx = [torch.zeros(0, most, dtype=torch.float64) for _ in range(N)]
        self.dg = [torch.zeros(0, most, dtype=torch.float64) for _ in range(N)]
        self.H: list[Hessian | None] = [None] * N

    def update(self, j: int, x: Tensor, f: float, g: Tensor) -> None:
        """Place the model of subfunction ``j`` about x, where its value is f and its gradient g."""
        if self.seen[j] and (x - self.x[j]).norm() > self.least_change:
            self.dx[j] = torch.cat([self.dx[j], (x - self.x[j])[None]])[-self.history :]
            self.dg[j] = torch.cat([self.dg[j], (g - self.g[j])[None]])[-self.history :]
            self.H[j] = bfgs(self.dx[j], self.dg[j])
        self.seen[j], self.f[j], self.x[j], self.g[j] = True, f, x, g

    def turn(self, R: Tensor) -> None:
        """Go over to other coordinates, R c in place of c."""
        self.x, self.g = self.x @ R.T, self.g @ R.T
        self.dx, self.dg = ([part @ R.T for part in parts] for parts in (self.dx, self.dg))
        self.H = [H and Hessian(H.beta, R @ H.V, H.excess) for H in self.H]

    def average_hessian(self, K: int) -> Tensor:
        """[K, K]."""
        known = [H for H in self.H if H is not None]
        if not known:
            gradient = self.g[self.seen].mean(0).norm().clamp_min(torch.finfo(torch.float64).tiny)
            return gradient / self.first_step * torch.eye(K, dtype=torch.float64)
        V = torch.cat([H.V[:K] for H in known], dim=1)
        beta = sum(H.beta for H in known) * torch.eye(K, dtype=torch.float64)
        return (beta + (V * torch.cat([H.excess for H in known])) @ V.T) / len(known)

    def minimum(self, K: int) -> Tensor:
        """The x [most] at which the sum of the models is least: (sum H_i)^-1 (sum H_i x_i - f_i')."""
        average = self.average_hessian(K)
        right, others = -self.g.sum(0), torch.zeros_like(self.x[0])
        for H, x in zip(self.H, self.x, strict=True):
            if H is None:
                others += x
            else:
                right += H @ x
        right = right[:K] + average @ others[:K]
        result = torch.zeros_like(others)
        result[:K] = torch.cholesky_solve(right[:, None], torch.linalg.cholesky(average))[:, 0] / self.seen.sum()
        return result

    def value(self, i: int, x: Tensor) -> float:
        """g_i(x), without its curvature where its history tells none."""
        away, H = x - self.x[i], self.H[i]
        curved = 0.0 if H is None else away @ (H @ away) / 2
        return float(self.f[i] + away @ self.g[i] + curved)

    def total(self, x: Tensor) -> float:
        """The sum of the models of what was evaluated."""
        return sum(self.value(i, x) for i in self.seen.nonzero().flatten().tolist())

    def distances(self, x: Tensor, K: int) -> Tensor:
        """(x - x_i)^T H (x - x_i) for every i, [N], with the average Hessian H."""
        away = (x - self.x)[:, :K]
        return ((away @ self.average_hessian(K)) * away).sum(1)

    def are_too_few(self, K: int) -> bool:
        """Whether the average gradient of those that were evaluated is no longer than its standard error, both by the
        inverse of the average Hessian as the metric."""
        g, n = self.g[self.seen, :K], int(self.seen.sum())
        L = torch.linalg.cholesky(self.average_hessian(K))
        g = torch.linalg.solve_triangular(L, g.T, upper=False)
        mean = g.mean(1, keepdim=True)
        return bool(mean.square().sum() < (g - mean).square().sum() / ((n - 1) * n))
