"""The tagger: `nn.LSTM` in both directions, packed."""

from lazynet.peers import Recurrent


def Twin(words: int, tags: int, dim: int, hidden: int) -> Recurrent:
    return Recurrent(words, tags, dim, hidden)
