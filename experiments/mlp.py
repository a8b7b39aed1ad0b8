"""Section 6.2, Figure 2: fully connected networks on MNIST, with dropout (a) and without (b).

Claim: with dropout Adam converges faster than AdaGrad, RMSProp, SGD with Nesterov momentum and AdaDelta. About nine
seconds a pass on one core of a CPU.

    python experiments/mlp.py optimizer=adagrad epochs=10
    python experiments/mlp.py -m optimizer=adam,rmsprop optimizer.lr=3e-4,1e-3 epochs=10
    python experiments/mlp.py dropout=without epochs=25
    python experiments/mlp.py dropout=without optimizer=sfo epochs=25
    python experiments/mlp.py dropout=with optimizer=sfo frozen_noise=true epochs=25
    python experiments/mlp.py figure=fig2_dropout
"""

from adam_repro.app import app, run_one


@app("mlp")
def run(cfg):
    """Train one run; with ``-m`` or a figure one run on each core at a time."""
    run_one(cfg)


if __name__ == "__main__":
    run()
