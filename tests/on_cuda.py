"""What tests of "cuda" share: on a GPU they run with `-m gpu`, simulated by `test_cuda.py`."""

import numpy as np
import pytest

from lazynet.device import device_of, on_device
from lazynet.kernels import cuda_driver

MARKS = []
if not cuda_driver.simulated():
    MARKS = [
        pytest.mark.gpu,
        pytest.mark.skipif(bool(cuda_driver.missing()), reason=cuda_driver.missing() or "-"),
    ]


def on(device, evaluate):
    """What `evaluate` gives on a device."""
    np.random.seed(0)
    with on_device(device_of(device)):
        return evaluate()


def agree(evaluate, tolerance=1e-5):
    """Check that `evaluate` gives the same arrays on both devices."""
    for here, there in zip(on("cpu", evaluate), on("cuda", evaluate), strict=True):
        np.testing.assert_allclose(there, here, rtol=tolerance, atol=tolerance)
