"""What the GPU pane tells of a GPU: who holds it, whether the next run fits, whether it is healthy."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from core.gpu.reading import ProcessReading
from core.gpu_lease.notes import Note
from core.gpu_lease.state import LeaseState, ResidentModel
from core.reasons import Reason
from tests.tui import gpus
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW
from tui.model.snapshot import ProfileLines
from tui.panes.gpu.pane import GpuPane

SAID = {
    "idle": (
        "▓ Ollama 4.3",
        "▒ idle 0.9",
        "░ free 11.9",
        "┊ 15.7",
        "lease free",
        "holds 1 model, 4.3 GB: vault-judge:v1",
    ),
    "training": (
        "█ job 42 11.4",
        "forecast 11.7 ± 0.2, measured peak so far 11.4",
        "GPU peak 12.6 · next 43: 8.9, fits · 135 Wh",
        "lease exclusive, job 42, since 14:02",
        "3 models of Ollama unloaded, restored when no job waits",
        "power  238/304 W",
    ),
    "held_by_another": (
        "▄ blender 9.1",
        "next 45: 8.9, waits for blender",
        "lease blocked for job 45",
        "blender (pid 52110, ben) holds 9.1 GB since 13:13",
    ),
    "held_by_another_home": ("lease blocked for job 45", "In use by job 7 of /srv/ben/bakehouse"),
    "stale_memory": (
        "× no owner 11.4",
        "next 45: 8.9, waits for memory that no process owns",
        "▲ stale: 11.4 GB belong to no process since 14:12",
        "close what else uses the GPU, or restart the machine",
    ),
    "faulted": (
        "lease blocked after a page fault, since 14:1",
        "Page fault of job 42 at 14:12: restart the machine, or `bakehouse queue release-gpu`",
    ),
    "clearing": ("lease clearing for job 45", "Unloading vault-judge:v1 and vault-planner:v1 from Ollama"),
    "verifying": ("× coming back 11.4", "lease verifying after job 45", "Waiting for 11.4 GB of job 45 to be freed"),
    "restoring": ("lease restoring after job 42", "Loading vault-planner:v1, 2 of 3"),
    "shared": (
        "▓ Ollama 4.3",
        "lease shared, job 42, since 14:3",
        "Job 42 asks Ollama, whose models stay. Loaded at its end: vault-judge:v1, vault-planner:v1",
    ),
    "serving": ("▓ Ollama 4.3", "▓ served 2.0", "llama-server serves note-title, 2.0 GB"),
    "served_away": ("lease exclusive, job 42", "note-title away, started again when no job waits"),
    "intruded": ("▲ vault-judge:v1 loaded by a client 2×, unloaded again",),
    "spilling": ("▲ 14:36 GTT grew by 2.6 GB since the run began", "16.9/17.1 GB"),
    "throttled": ("▲ hotspot above 85 °C, throttling: thermal, power", "hotspot   104 °C"),
    "several": ("GPU 1 of 2, sysfs, 1 Hz", "12.3/17.1 GB"),
    "absent": ("▒ not told whose 3.1", "3.1/12.2 GB", "lease free, the next job takes the GPU"),
    "asleep": ("the GPU sleeps: nobody uses it, 17.1 GB in all", "next 45: 8.9, fits"),
    "old_readings": ("▲ 12 s old", "▲ newest reading at 14:37:00, 12 s ago"),
    "broken_source": ("▲ sysfs: gpu_busy_percent does not answer since 2 s; tried again in 30 s",),
}


def joined(text: str) -> str:
    """A pane's text without its frame and its line breaks."""
    return re.sub(r"\s+", " ", text.replace("│", " "))


@pytest.mark.parametrize("name", list(gpus.MOMENTS))
async def test_each_moment_of_the_gpu_is_told(console: Opened, name: str) -> None:
    async with console(gpus.MOMENTS[name]()) as pilot:
        said = joined(text_of(pilot, "#gpu"))
        for words in SAID[name]:
            assert joined(words) in said


@pytest.mark.parametrize("size", [(100, 34), (80, 24), (60, 20), (200, 60)])
@pytest.mark.parametrize("name", list(gpus.MOMENTS))
async def test_no_moment_breaks_its_frame(console: Opened, name: str, size: tuple[int, int]) -> None:
    async with console(gpus.MOMENTS[name](), size=size) as pilot:
        for keys in ("2", "z"):
            await pilot.press(keys)
            pane = pilot.app.screen.query_one(GpuPane)
            rows = pane.text.splitlines()
            assert len(rows) == pane.size.height
            assert {len(row) for row in rows} == {pane.size.width}
            assert all(row.endswith(("│", "╮", "╯")) for row in rows)
            assert "lease" in pane.text


async def test_a_row_tells_the_gpu_on_a_small_terminal(console: Opened) -> None:
    rows = {}
    for name in ("training", "stale_memory", "held_by_another", "clearing", "spilling", "asleep"):
        async with console(gpus.MOMENTS[name](), size=(80, 24)) as pilot:
            rows[name] = text_of(pilot, "#summary").splitlines()[1]
    assert "12.3/17.1 GB · 97 % · 238 W · 82 °C" in rows["training"]
    assert "×××" in rows["stale_memory"] and "blocked · ▲ 11.4 GB stale" in rows["stale_memory"]
    assert "blocked · ▲ blender 9.1" in rows["held_by_another"]
    assert "clearing" in rows["clearing"] and "▲ spill" in rows["spilling"]
    assert "the GPU sleeps" in rows["asleep"]


async def test_what_is_wrong_outlives_what_repeats_where_there_is_no_room(console: Opened) -> None:
    async with console(gpus.stale_memory(), size=(80, 20)) as pilot:
        await pilot.press("2")
        said = text_of(pilot, "#gpu")
        assert "VRAM ×××" in said and "lease blocked" in said and "▲ stale" in said
        assert "−10 min" not in said


async def test_the_next_job_that_can_never_fit_is_told(console: Opened) -> None:
    found = gpus.training()
    large = tuple(replace(one, device_memory_bytes=16_500_000_000) if one.id == 43 else one for one in found.jobs)
    async with console(replace(found, jobs=large)) as pilot:
        assert "next 43: 16.5, does not fit" in text_of(pilot, "#gpu")


async def test_warnings_of_gpu_and_run_are_counted_in_the_header(console: Opened) -> None:
    quiet = tuple(
        replace(one, progress=replace(one.progress, warnings=0)) if one.progress else one
        for one in gpus.training().jobs
    )
    async with console(replace(gpus.training(), jobs=quiet)) as pilot:
        assert "▲" not in text_of(pilot, "#header")
    for name, words in (("spilling", "42: GTT grew"), ("intruded", "vault-judge:v1 loaded by a client 2×")):
        async with console(replace(gpus.MOMENTS[name](), jobs=quiet)) as pilot:
            assert "▲ 1 warning" in text_of(pilot, "#header")
            await pilot.press("w")
            assert words in joined(text_of(pilot, "#help"))


async def test_alone_the_pane_tells_all_that_is_known_and_scrolls(console: Opened) -> None:
    async with console(gpus.several(), size=(120, 30)) as pilot:
        await pilot.press("2", "enter")
        said = text_of(pilot, "#gpu")
        assert "power    " in said and "21 to 238, mean 151" in said
        assert "█ 41877  anna         11.4   0.2  14:02   job 42  python -P -m jobs runs/42" in said
        assert "1834  root          0.3" in said
        assert "unloaded for the job: vault-judge:v1, vault-planner:v1, qwen3:1.7b" in said
        assert "rows below" in said and "HSA_OVERRIDE" not in said
        assert "D doctor" in keys_of(pilot) and "esc all panes" in keys_of(pilot)
        await pilot.press("G")
        said = text_of(pilot, "#gpu")
        assert "▸ RX 9070 XT   0000:0f:00.0  gfx1201" in said and "edge/hotspot/memory 38/41/46 °C" in said
        assert "Radeon Graphics   0000:7a:00.0  integrated" in said
        assert "14:02:11  10.2 GB freed within 9 s: the GPU is free" in said
        assert "HSA_OVERRIDE_GFX_VERSION unset   this GPU has kernels of its own" in said
        await pilot.press("g")
        assert "VRAM ███" in text_of(pilot, "#gpu")
        await pilot.press("escape")
        assert "rows below" not in text_of(pilot, "#gpu") and "esc all panes" not in keys_of(pilot)


async def test_what_others_call_themselves_is_text(console: Opened) -> None:
    nasty = "\x1b[2J\x1b]52;c;aGk=\x07[bold]x\u202e"
    process = ProcessReading(9, nasty, 5_000_000_000, False, gpus.PCI, None, nasty, nasty, NOW - 60)
    state = LeaseState(
        NOW,
        gpus.PCI,
        "blocked",
        45,
        NOW,
        status=Reason(nasty, {nasty: nasty}),
        server=nasty,
        server_fault=Reason("server_refused", {"said": nasty}),
        residents=(ResidentModel(nasty, 1_000_000_000),),
        evicted=(nasty,),
        remedy=Reason(nasty),
        unowned_bytes=2_000_000_000,
        notes=(Note(NOW, Reason("model_given_up", {"model": nasty, "tries": 12}), "bad"),),
    )
    found = gpus.waiting(samples=gpus.samples(process, problem=nasty), lease_state=state)
    async with console(replace(found, profile=ProfileLines(nasty, ((nasty, nasty),)))) as pilot:
        for key in ("2", "z", "G"):
            await pilot.press(key)
            for widget in pilot.app.screen.query("Canvas"):
                for strip in widget.strips:  # type: ignore[attr-defined]
                    assert not set(strip.text) & set("\x1b\x07\u202e")
        assert "[bold]x" in text_of(pilot, "#gpu")


async def test_a_state_that_an_older_console_does_not_know_is_shown_as_it_is_called(console: Opened) -> None:
    async with console(
        gpus.waiting(lease_state=gpus.state("warming", status=Reason("for_the_winter", {"degrees": 21})))
    ) as pilot:
        assert "lease warming" in text_of(pilot, "#gpu") and "for the winter, degrees 21" in text_of(pilot, "#gpu")


async def test_what_a_dead_runner_left_says_when(console: Opened) -> None:
    async with console(replace(gpus.training(), runner_alive=False)) as pilot:
        assert "no runner: state of the GPU as of 14:37" in joined(text_of(pilot, "#gpu"))


async def test_what_went_wrong_is_shown_also_when_the_clock_was_set_back_meanwhile(console: Opened) -> None:
    """The lease is held since an hour that has not come yet; a note of now is shown, one of later is none."""
    note = Note(NOW - 5, Reason("memory_unknown"), "warn")
    ahead = Note(NOW + 3000, Reason("model_given_up", {"model": "qwen3", "tries": 12}), "bad")
    state = gpus.state("held", job_id=42, since=NOW + 3600, notes=(note, ahead))
    async with console(gpus.training(lease_state=state)) as pilot:
        said = joined(text_of(pilot, "#gpu"))
        assert "GPU memory usage is unavailable" in said and "qwen3" not in said
