"""Corpora made from the source of Python's own standard library, as found on this machine.

Every function gives ``(train, dev)``: at most `limit` examples to train on and an eighth as many
to evaluate on, from different modules. They are the same at every call on one Python version.
"""

from lazynet.data.builtin.grammar import dependencies as dependencies
from lazynet.data.builtin.identifiers import names as names
from lazynet.data.builtin.listings import text as text
from lazynet.data.builtin.roles import tagged as tagged
from lazynet.data.builtin.syntax import trees as trees

__all__ = ["dependencies", "names", "tagged", "text", "trees"]
