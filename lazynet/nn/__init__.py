"""Modules: PyTorch's names, shapes and initial values, written over one example in lazy ops."""

from lazynet.nn import functional as functional
from lazynet.nn import init as init
from lazynet.nn import utils as utils
from lazynet.nn.containers import Identity as Identity
from lazynet.nn.containers import ModuleDict as ModuleDict
from lazynet.nn.containers import ModuleList as ModuleList
from lazynet.nn.containers import Sequential as Sequential
from lazynet.nn.linear import Dropout as Dropout
from lazynet.nn.linear import Embedding as Embedding
from lazynet.nn.linear import Linear as Linear
from lazynet.nn.module import Module as Module
from lazynet.nn.recurrent import GRU as GRU
from lazynet.nn.recurrent import LSTM as LSTM
from lazynet.nn.recurrent import RNN as RNN
from lazynet.nn.recurrent import GRUCell as GRUCell
from lazynet.nn.recurrent import LSTMCell as LSTMCell
from lazynet.nn.recurrent import RNNCell as RNNCell
from lazynet.nn.tree import ChildSumTreeLSTMCell as ChildSumTreeLSTMCell
from lazynet.nn.tree import TreeLSTMCell as TreeLSTMCell
from lazynet.tensor import Parameter as Parameter
