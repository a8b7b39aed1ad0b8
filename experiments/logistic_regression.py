"""Section 6.1, Figure 1: L2-regularised logistic regression.

Claim: Adam converges like SGD with Nesterov momentum, and both faster than AdaGrad (MNIST, left panel).

    python experiments/logistic_regression.py optimizer=adagrad optimizer.lr=0.03
    python experiments/logistic_regression.py -m optimizer=adam,adagrad optimizer.lr=1e-4,3e-4 'seed=range(3)'
    python experiments/logistic_regression.py figure=fig1_mnist
"""

from adam_repro.app import app, run_one


@app("logistic_regression")
def run(cfg):
    """Train one run; with ``-m`` or a figure, the population launcher trains all of them instead."""
    run_one(cfg)


if __name__ == "__main__":
    run()
