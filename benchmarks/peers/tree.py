"""The Tree-LSTM, batched by level."""

from lazynet.peers import Trees as Twin

__all__ = ["Twin"]
