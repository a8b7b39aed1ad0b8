"""Splits a rule into what depends on hyper-parameters alone and what touches parameters.

A rule is written once, as the paper writes it: ``1 - beta2**t`` stands in the middle of the update. For K members
at once that line would be K powers for every weight and step. ``stage`` traces the rule and cuts it in two:

* ``coefficients``: every expression in t and the hyper-parameters alone, to be evaluated in float64, for all members
  and all steps of an epoch at once;
* ``elementwise``: the rest, which takes those values already cast to the parameters' dtype.

So the legible rule stays the only place where an algorithm is written, and its hyper-parameters are float64 up to
the moment when they meet a tensor.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass

from torch import fx


@dataclass(frozen=True)
class Staged:
    """``coefficients(t, **hyper) -> tuple`` and ``elementwise(theta, g, *state, *coefficients) -> (theta, *state)``."""

    coefficients: Callable
    elementwise: Callable


@functools.cache
def stage(
    rule: Callable, state_names: tuple[str, ...], flags: tuple[tuple[str, bool], ...] = (), *, reciprocals: bool = False
) -> Staged:
    """Cut ``rule(theta, g, *state, t, *, **hyper)`` in two, with its boolean ``flags`` fixed.

    ``reciprocals``: what the rule divides by a coefficient is multiplied by one over it, which is formed in float64
    too. That rounds otherwise than the rule, and leaves one of Adam's three divisions: a core makes sixteen
    multiplications in the time of one.
    """
    tensors = ("theta", "g", *state_names)
    scalars = [name for name in inspect.signature(rule).parameters if name not in (*tensors, *dict(flags))]

    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    symbols = {name: fx.Proxy(graph.placeholder(name), tracer) for name in (*tensors, *scalars)}
    positional = [symbols[name] for name in (*tensors, "t")]
    outputs = rule(*positional, **{name: symbols[name] for name in scalars if name != "t"}, **dict(flags))

    touches_tensor = {symbols[name].node for name in tensors}
    for node in graph.nodes:
        if touches_tensor.intersection(node.all_input_nodes):
            touches_tensor.add(node)
            divides = node.target is operator.truediv and isinstance(node.args[1], fx.Node)
            if reciprocals and divides and node.args[1] not in touches_tensor:
                with graph.inserting_before(node):
                    reciprocal = graph.call_function(operator.truediv, (1, node.args[1]))
                node.target, node.args = operator.mul, (node.args[0], reciprocal)
    boundary = [node for node in graph.nodes if node not in touches_tensor and touches_tensor.intersection(node.users)]

    return Staged(
        _subgraph(graph, inputs=[symbols[name].node for name in scalars], outputs=boundary),
        _subgraph(
            graph,
            inputs=[*(symbols[name].node for name in tensors), *boundary],
            outputs=[output.node for output in outputs],
        ),
    )


def _subgraph(graph: fx.Graph, inputs: list[fx.Node], outputs: list[fx.Node]) -> Callable:
    """The function from ``inputs`` to ``outputs``, as Python code that torch.compile can read."""
    part = fx.Graph()
    copied = {node: part.placeholder(node.name) for node in inputs}
    needed = _ancestors(outputs, stop=set(inputs))
    for node in graph.nodes:
        if node in needed and node not in copied:
            copied[node] = part.node_copy(node, copied.__getitem__)
    part.output(tuple(copied[node] for node in outputs))
    return fx.GraphModule({}, part).forward


def _ancestors(nodes: list[fx.Node], stop: set[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                waiting.extend(node.all_input_nodes)
    return found
