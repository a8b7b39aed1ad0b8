"""A figure's title, and what is to be seen in it, in words for those who do not see it."""

from __future__ import annotations

from dataclasses import dataclass

BELOW = (
    "below, the training cost under default settings and under those nearest to the printed curves, where those were "
    "run, and the test accuracy"
)


@dataclass(frozen=True)
class Caption:
    """``printed``: whether the paper's own curves are drawn beneath. ``at_milestones``: whether final costs are those
    of single passes, as the figure's config lists them, and not means of the last."""

    title: str
    shown: str
    printed: bool = True
    at_milestones: bool = False


CAPTIONS = {
    "fig1_mnist": Caption(
        "Figure 1, left: logistic regression on MNIST",
        "Training cost by pass under the tuned settings; below, under those nearest to the printed curves, under "
        "default settings, and the final cost against the learning rate",
    ),
    "fig1_imdb": Caption(
        "Figure 1, right: logistic regression on IMDB, with dropout",
        "Training cost by pass under the tuned settings; below, under those nearest to the printed curves, under "
        "default settings, and the final cost against the learning rate",
    ),
    "fig1_imdb_no_dropout": Caption(
        "Section 6.1: logistic regression on IMDB, without dropout",
        "Training cost by pass under the tuned settings; below, under default settings, and the final cost against the "
        "learning rate",
        printed=False,
    ),
    "fig1_mnist_wide": Caption(
        "Section 7.1 and later: logistic regression on MNIST, tuned in every hyper-parameter",
        "Final training cost of six optimizers with suggested settings, with learning rate and momentum tuned, and "
        "with every hyper-parameter tuned; below, the training cost of the last by pass",
        printed=False,
    ),
    "fig2_dropout": Caption(
        "Figure 2, (a): fully connected network on MNIST, with dropout",
        f"Training cost by pass under the tuned settings; {BELOW}",
    ),
    "fig2_deterministic": Caption(
        "Figure 2, (b): fully connected network on MNIST, without dropout",
        f"Training cost by pass under the tuned settings, and of SFO; {BELOW}, and SFO with dropout",
    ),
    "sfo_cost": Caption(
        "Section 6.2: what SFO costs beside Adam",
        "Seconds of a pass and peak of memory against the number of SFO's minibatches",
        printed=False,
    ),
    "fig3_first_epochs": Caption(
        "Figure 3, left: convolutional network on CIFAR-10, first passes",
        f"Training cost of the first passes under the tuned settings, with dropout and without; {BELOW}; and the share "
        "of coordinates in which eps outweighs the second moment",
    ),
    "fig3_full": Caption(
        "Figure 3, right: convolutional network on CIFAR-10",
        f"Training cost by pass under the tuned settings, with dropout and without; {BELOW}; Adam without "
        "either moment, and the share of coordinates in which eps outweighs the second",
    ),
    "fig4": Caption(
        "Figure 4: bias correction in a variational autoencoder on MNIST",
        "Training cost against the step size for each beta1 and beta2, with bias correction and without: a block after "
        "few passes, and one of the settings that were run for more",
        at_milestones=True,
    ),
    "properties": Caption(
        "Sections 2, 3, 5 and 7: the algorithm's properties",
        "A gradient after zeros, steps without bias correction, annealing near an optimum, second moments of sparse "
        "gradients, AdaGrad as a limit, and L_p norms in float32",
        printed=False,
    ),
    "online_convex": Caption(
        "Section 4: convergence on streams of convex functions",
        "Regret on random streams and on those of Reddi et al., regret with sparse features, and the test error in the "
        "construction of Wilson et al",
        printed=False,
    ),
}
