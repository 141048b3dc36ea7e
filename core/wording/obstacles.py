"""The words for why jobs do not run on a GPU that is there, and what to do about that: the same wherever one is shown."""

from __future__ import annotations

from collections.abc import Sequence

from core.gpu.reading import DeviceReading, Sample
from core.text import printable

_WORDS = {
    "integrated": "it is a part of the processor",
    "hidden": "{detail} hides it",
    "source_forced": "BAKEHOUSE_GPU_SOURCE is {detail}",
    "no_device_file": "there is no {detail}",
    "no_rights": "{detail} is not yours to open",
    "access_revoked": "{detail} is yours, and the kernel refuses it",
    "not_offered": "{detail} does not offer it",
    "no_address": "no source tells its PCI address",
}
_REMEDIES = {
    "hidden": "unset {detail}, or name the GPU in it; then restart the runner",
    "source_forced": "unset BAKEHOUSE_GPU_SOURCE; then restart the runner",
    "no_device_file": "load the GPU's driver; in a container, pass the device: --device=/dev/kfd --device=/dev/dri for AMD, "
    "--gpus all for NVIDIA",
    "no_rights": "`ls -l {detail}` names its group: join it, then log in again",
    "access_revoked": "restart the container: a reload of systemd on the host took the device away",
    "not_offered": "sudo dmesg | grep -i {detail}",
}


def obstacle_words(why: Sequence[str] | None) -> str:
    """`HIP_VISIBLE_DEVICES hides it`; a code that this version does not know is shown as it is called."""
    if not why:
        return ""
    code, detail = [*why, ""][:2]
    return printable(_WORDS.get(code, f"{code.replace('_', ' ')} {{detail}}").format(detail=detail).strip())


def obstacle_remedy(why: Sequence[str] | None) -> str:
    """What to do, empty where nothing is to be done."""
    if not why:
        return ""
    code, detail = [*why, ""][:2]
    return printable(_REMEDIES.get(code, "").format(detail=detail))


def not_used(device: DeviceReading) -> str:
    """`Radeon RX 9070 XT is not used: HIP_VISIBLE_DEVICES hides it`."""
    why = obstacle_words(device.passed_over)
    return f"{printable(device.name)} is not used" + (f": {why}" if why else "")


def gpus_not_used(sample: Sample | None) -> list[str]:
    """A line for each GPU that jobs would run on, were it not for something; none where they have one."""
    return [] if sample is None else [not_used(device) for device in sample.passed_over]
