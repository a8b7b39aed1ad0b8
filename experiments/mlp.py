"""Section 6.2: multi-layer perceptrons on MNIST, with dropout, and without it in Figure 2 (b).

About ten seconds a pass on one core.

    python experiments/mlp.py optimizer=adagrad epochs=10
    python experiments/mlp.py -m optimizer=adam,rmsprop optimizer.lr=3e-4,1e-3 epochs=10
    python experiments/mlp.py model.input_dropout=0 model.hidden_dropout=0 epochs=25
"""

from adam_repro.app import app, run_one


@app("mlp")
def run(cfg):
    """Train one run; with ``-m`` one run on each core at a time."""
    run_one(cfg)


if __name__ == "__main__":
    run()
