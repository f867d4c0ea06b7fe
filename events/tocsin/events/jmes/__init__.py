"""Conditions on events (JMESPath), compiled once, evaluated often, and unable to run away.

    text ──▶ syntax (the package's parser, limits) ──▶ tree ──▶ closures ──▶ Expression
                                                        ├──▶ lints: what cannot be meant
                                                        └──▶ requires: what an index may look up

Lexer, parser and rarer functions are the jmespath package's; evaluation is ours, ten and more times faster. Two
answers differ on purpose, where the package leaks Python's `TypeError`: a number ordered against a text is null, and
`contains('text', 5)` is false.
"""

from tocsin.events.errors import EvaluationError
from tocsin.events.jmes.expression import Expression, check, compile, reader  # noqa: A004  (as re.compile)
from tocsin.events.jmes.requires import Bound, Demand

__all__ = ["Bound", "Demand", "EvaluationError", "Expression", "check", "compile", "reader"]
