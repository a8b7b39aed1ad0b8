"""Section 6.3, Figure 3: a convolutional network on CIFAR-10.

Claim: Adam and AdaGrad make rapid progress at first; later Adam and SGD with Nesterov momentum leave AdaGrad far
behind. One to two minutes a pass on one core of a CPU.

    python experiments/cnn.py optimizer=adagrad epochs=1 train_examples=5000
    python experiments/cnn.py dropout=with device=cuda
    python experiments/cnn.py figure=fig3_first_epochs
"""

from adam_repro.app import app, run_one


@app("cnn")
def run(cfg):
    """Train one run; with ``-m`` or a figure one run on each core at a time."""
    run_one(cfg)


if __name__ == "__main__":
    run()
