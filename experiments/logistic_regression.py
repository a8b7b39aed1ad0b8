"""Section 6.1, Figure 1: L2-regularised logistic regression, on MNIST (left) and on IMDB reviews (right).

Claim: Adam converges like SGD with Nesterov momentum, and both faster than AdaGrad (MNIST). On sparse words AdaGrad is
far better than SGD with Nesterov momentum, and Adam as fast as AdaGrad (IMDB).

    python experiments/logistic_regression.py optimizer=adagrad optimizer.lr=0.03
    python experiments/logistic_regression.py -m optimizer=adam,adagrad optimizer.lr=1e-4,3e-4 'seed=range(3)'
    python experiments/logistic_regression.py figure=fig1_mnist
    python experiments/logistic_regression.py figure=fig1_imdb
"""

from adam_repro.app import app, run_one


@app("logistic_regression")
def run(cfg):
    """Train one run; with ``-m`` or a figure, the population launcher trains all of them instead."""
    run_one(cfg)


if __name__ == "__main__":
    run()
