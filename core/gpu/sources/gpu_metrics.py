"""Why an AMD card is throttled, from the table `gpu_metrics` that its driver hands out in binary.

Layout and bits are those of the kernel's `kgd_pp_interface.h` and `amdgpu_smu.h`: a header (size of the table u16, format
u8, content u8), then fields of a fixed place for each version. Only `indep_throttle_status` means the same on every card;
the older `throttle_status` beside it is each chip's own.
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<HBB")
_STATUS = struct.Struct("<Q")
# (format, content) → where `indep_throttle_status` begins. 1.3: discrete cards since RDNA; 2.x: processors with a GPU.
_OFFSETS = {(1, 3): 112, (2, 2): 120, (2, 3): 120, (2, 4): 120}
_NOT_FILLED = 2**64 - 1

_POWER = 0xFF  # bits 0..7: the limits of package and socket (PPT, SPL, FPPT, SPPT)
_CURRENT = 0xFF << 16  # bits 16..23: sustained and peak current (TDC, EDC, APCC)
_THERMAL = 0xFFFF << 32  # bits 32..47: sensors, regulators, liquid, PROCHOT
_REASONS = (("thermal", _THERMAL), ("power", _POWER), ("current", _CURRENT))
_KNOWN = _THERMAL | _POWER | _CURRENT


def throttling(table: bytes) -> tuple[str, ...] | None:
    """`thermal`, `power`, `current`, `other`: those that hold the card back now, empty when none does.

    None for a version whose layout is not known, for a table cut short, and for a field that the firmware leaves unset.
    """
    if len(table) < _HEADER.size:
        return None
    size, form, content = _HEADER.unpack_from(table)
    offset = _OFFSETS.get((form, content))
    if offset is None or min(size, len(table)) < offset + _STATUS.size:
        return None
    (status,) = _STATUS.unpack_from(table, offset)
    if status == _NOT_FILLED:
        return None
    reasons = [name for name, bits in _REASONS if status & bits]
    if status & ~_KNOWN:
        reasons.append("other")
    return tuple(reasons)
