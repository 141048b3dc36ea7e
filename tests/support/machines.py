"""Trees of files as the kernel shows them, for machines with cards that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

UUID = "GPU-1c9e5b7a-3f20-4d61-8b0e-52d7a9c4e6f{}"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


class FakeMachine:
    """`sys` and `proc` of a machine, built card by card."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.procfs = root / "sys", root / "proc"
        self.dev: Path | None = None
        self.root = root
        self.sysfs.mkdir(parents=True)
        self.procfs.mkdir()
        self.cards = 0
        self.nodes = 1
        write(self.node(0), {"gpu_id": "0"})

    @property
    def environ(self) -> dict[str, str]:
        moved = {"BAKEHOUSE_SYSFS": str(self.sysfs), "BAKEHOUSE_PROCFS": str(self.procfs)}
        return moved if self.dev is None else {**moved, "BAKEHOUSE_DEV": str(self.dev)}

    def devices(self, *names: str) -> FakeMachine:
        """Its device files are these, and no others; without this call nobody looks at any."""
        self.dev = self.root / "dev"
        self.dev.mkdir(exist_ok=True)
        write(self.dev, dict.fromkeys(names, ""))
        return self

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process and what it starts see this machine, and nothing that a person has set."""
        for name in ("BAKEHOUSE_GPU_SOURCE", "BAKEHOUSE_KMSG", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    def node(self, number: int) -> Path:
        return self.sysfs / "class/kfd/kfd/topology/nodes" / str(number)

    def amd(
        self,
        pci: str,
        *,
        integrated: bool = False,
        kfd: bool = True,
        name: str = "AMD card",
        gfx: int = 0,
        render_minor: int = 0,
    ) -> FakeMachine:
        """`gfx`: KFD's `gfx_target_version`, 120001 of a gfx1201; `render_minor` the number of its render node."""
        device = self.sysfs / f"class/drm/card{self.cards}/device"
        sensors = ["in1_input"] if integrated else ["temp2_input", "power1_cap"]
        write(
            device,
            {
                "vendor": "0x1002",
                "uevent": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:7FFF\nPCI_SLOT_NAME={pci}",
                "product_name": name,
                "mem_info_vram_total": "25753026560",
                "mem_info_vram_used": "7340032",
                "hwmon/hwmon2/name": "amdgpu",
                **{f"hwmon/hwmon2/{sensor}": "800" for sensor in sensors},
            },
        )
        self.cards += 1
        if kfd:
            domain, bus, rest = pci.split(":")
            slot, function = rest.split(".")
            location = int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)
            target = f"gfx_target_version {gfx}\n" if gfx else ""
            target += f"drm_render_minor {render_minor}\n" if render_minor else ""
            properties = f"simd_count 96\n{target}location_id {location}\ndomain {int(domain, 16)}"
            write(self.node(self.nodes), {"gpu_id": str(40_000 + self.nodes), "properties": properties})
            self.nodes += 1
        return self

    def process(
        self,
        pid: int,
        name: str,
        *,
        command: tuple[str, ...] = (),
        uid: int = 0,
        start_ticks: int = 4200,
        parent: int = 1,
        opened: dict[int, str] | None = None,
        fdinfo: dict[int, str] | None = None,
    ) -> FakeMachine:
        """A process with its open files and what is told of them: descriptor → name, descriptor → fdinfo."""
        folder = self.procfs / str(pid)
        fields = " ".join(["S", str(parent), *["0"] * 17, str(start_ticks), *["0"] * 30])
        write(
            folder,
            {
                "comm": name,
                "cmdline": "".join(f"{word}\0" for word in command or (name,)),
                "stat": f"{pid} ({name}) {fields}",
                "status": f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}",
                **{f"fdinfo/{number}": text for number, text in (fdinfo or {}).items()},
            },
        )
        (folder / "fd").mkdir(exist_ok=True)
        for number, target in (opened or {}).items():
            (folder / f"fd/{number}").unlink(missing_ok=True)
            (folder / f"fd/{number}").symlink_to(target)
        return self

    def pci_device(self, pci: str, vendor: str, kind: str, driver: str | None) -> FakeMachine:
        bound = f"DRIVER={driver}\n" if driver else ""
        uevent = f"{bound}PCI_CLASS={kind[2:]}\nPCI_SLOT_NAME={pci}"
        write(self.sysfs / "bus/pci/devices" / pci, {"vendor": vendor, "class": kind, "uevent": uevent})
        return self

    def nvidia(
        self,
        pci: str,
        *,
        driver: str | None = "nvidia",
        listed: bool = True,
        uuid: str = "",
        minor: int | None = None,
    ) -> FakeMachine:
        """Its sound device comes along, as it does on real cards. `minor` is the number of its device file."""
        self.pci_device(pci, "0x10de", "0x030000", driver)
        self.pci_device(pci[:-1] + "1", "0x10de", "0x040300", "snd_hda_intel")
        if listed:
            said = f"Model: \t\t NVIDIA Stand-in\nGPU UUID: \t {uuid or 'GPU-????????-????'}\nBus Location: \t {pci}"
            said += "" if minor is None else f"\nDevice Minor: \t {minor}"
            write(self.procfs / "driver/nvidia/gpus" / pci, {"information": said})
            write(self.procfs / "driver/nvidia", {"version": "NVRM version: NVIDIA UNIX"})
        return self
