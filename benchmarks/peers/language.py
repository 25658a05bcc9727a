"""The language model: `nn.LSTM`, packed."""

from lazynet.peers import Recurrent


class Twin(Recurrent):
    def __init__(self, words: int, dim: int, hidden: int) -> None:
        super().__init__(words, words, dim, hidden, both=False)

    def one(self, numbers):
        return super().one((numbers[:-1], numbers[1:]))

    def together(self, batch):
        return super().together([(numbers[:-1], numbers[1:]) for numbers in batch])
