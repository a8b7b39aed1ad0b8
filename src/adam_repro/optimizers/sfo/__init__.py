"""SFO, the Sum of Functions Optimizer: quadratic models of all minibatches, each with a Hessian of its own.

Sohl-Dickstein, Poole and Ganguli, "Fast large-scale optimization by unifying stochastic gradient and quasi-Newton
methods", ICML 2014, arXiv:1311.2115. Written from the paper.
"""

from .optimizer import SFO

__all__ = ["SFO"]
