"""The runner's sampling of the card and the machine, in a thread of its own."""

from __future__ import annotations

import threading

from core.gpu.reading import DeviceReading, Sample
from core.gpu.sampler import Sampler
from core.home import Home


def start_sampling(home: Home, stop: threading.Event) -> str | None:
    """Begin to sample; returns the PCI id of the card that jobs run on, None on a machine without one."""
    sampler = Sampler(home)
    first = sampler.read()
    threading.Thread(target=sampler.run, args=(stop,), name="sampler", daemon=True).start()
    card = choose_card(first)
    return None if card is None else card.pci


def choose_card(sample: Sample) -> DeviceReading | None:
    """The card that jobs run on: the first that is no part of the processor, as the source orders them."""
    return next((device for device in sample.devices if device.pci and not device.integrated), None)
