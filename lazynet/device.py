"""Devices. The CPU is the only one in this version; anything else is refused with one sentence."""

from __future__ import annotations

CPU = "cpu"


class DeviceError(RuntimeError):
    """A device that is not there, or operands on different devices."""


def check_device(name: str) -> str:
    """The device's name, if there is such a device.

    Raises:
        DeviceError: for any other device than the CPU.
    """
    if name == CPU:
        return name
    if name.split(":")[0] == "cuda":
        raise DeviceError(
            f"device {name!r}: this version of lazynet runs on the CPU only; CUDA is not built yet"
        )
    raise DeviceError(f"unknown device {name!r}; this version of lazynet knows 'cpu'")


def set_default_device(name: str) -> None:
    """Choose where new tensors live. Only "cpu" exists in this version."""
    check_device(name)
