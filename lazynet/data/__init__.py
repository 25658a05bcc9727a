"""Examples to train on: readers of the field's file formats, vocabularies, minibatches, corpora.

Nothing here knows the engine: an example is a plain Python object, a minibatch a plain list.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from lazynet import unknown as _unknown
from lazynet.data import builtin as builtin
from lazynet.data.loader import Loader as Loader
from lazynet.data.readers import DataError as DataError
from lazynet.data.readers import Sentence as Sentence
from lazynet.data.readers import read_conllu as read_conllu
from lazynet.data.readers import read_pairs as read_pairs
from lazynet.data.readers import read_split as read_split
from lazynet.data.readers import read_tagged as read_tagged
from lazynet.data.readers import read_text as read_text
from lazynet.data.tree import Tree as Tree
from lazynet.data.tree import read_trees as read_trees
from lazynet.data.vocabulary import Vocabulary as Vocabulary
from lazynet.elsewhere import TORCH_DATA as _TORCH_DATA

__all__ = [
    "DataError",
    "Loader",
    "Sentence",
    "Tree",
    "Vocabulary",
    "builtin",
    "read_conllu",
    "read_pairs",
    "read_split",
    "read_tagged",
    "read_text",
    "read_trees",
]

if not _TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _unknown.tells(__name__, _TORCH_DATA)
