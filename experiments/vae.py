"""Section 6.4, Figure 4: bias correction, in a variational autoencoder on MNIST.

Claim: without bias correction training becomes unstable as beta2 nears 1; with it Adam is at least as good for every
setting. About six seconds a pass on one core of a CPU.

    python experiments/vae.py optimizer.beta2=0.9999 optimizer.bias_correction=false epochs=10
    python experiments/vae.py figure=fig4 epochs=10
"""

from adam_repro.app import app, run_one


@app("vae")
def run(cfg):
    """Train one run; with ``-m`` or a figure one run on each core at a time."""
    run_one(cfg)


if __name__ == "__main__":
    run()
