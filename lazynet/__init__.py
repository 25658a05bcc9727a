"""lazynet: write the program for one example; everything pending runs as a few large kernels."""

from lazynet import backward as _backward
from lazynet import ops as ops
from lazynet.cell import scan as scan
from lazynet.graph import batching as batching
from lazynet.graph import debug as debug
from lazynet.graph import enable_grad as enable_grad
from lazynet.graph import is_grad_enabled as is_grad_enabled
from lazynet.graph import no_grad as no_grad
from lazynet.graph import set_batching as set_batching
from lazynet.ops.elementwise import exp as exp
from lazynet.ops.elementwise import log as log
from lazynet.ops.elementwise import sigmoid as sigmoid
from lazynet.ops.elementwise import tanh as tanh
from lazynet.tensor import Parameter as Parameter
from lazynet.tensor import Sequence as Sequence
from lazynet.tensor import Tensor as Tensor
from lazynet.tensor import forward as forward
from lazynet.tensor import tensor as tensor
