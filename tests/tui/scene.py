"""One moment of a busy home, invented: what the console's rendering is tested with. Nothing here is read from anywhere."""

from __future__ import annotations

import calendar
import math
import random
from dataclasses import replace
from typing import Any

from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.progress import Progress
from core.reasons import Reason
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow, QueueState
from tui.model.forecasts import OomFallback, RunForecast
from tui.model.snapshot import Board, CheckMarks, Detail, RankedCandidate, Slot, Snapshot, TaskLine

NOW = float(calendar.timegm((2025, 11, 25, 14, 37, 12)))  # the tests run in UTC
GB = 1_000_000_000


def job(job_id: int, state: str, title: str, **changes: Any) -> JobRow:
    """A job as the store gives it."""
    begun = state not in ("waiting", "ready")
    row = {
        "id": job_id,
        "kind": title.split()[0].replace("bake-off", "bakeoff"),
        "title": title,
        "project_id": "vault",
        "task": title.replace(",", "").split()[1],
        "lane": "gpu",
        "host_memory_bytes": 0,
        "on_restart": "requeue",
        "state": state,
        "reason": Reason("running" if begun else "submitted"),
        "held": False,
        "stop_reason": None,
        "stop_asked_at": None,
        "position": float(job_id),
        "attempt": int(begun),
        "orphaned": False,
        "submitted_at": NOW - 9000,
        "started_at": NOW - 2100 if begun else None,
        "ended_at": None,
        "needs": (),
        "progress": None,
        "result": None,
        "model": title.rpartition(" · ")[2] if " · " in title else None,
    }
    return JobRow(**{**row, **changes})


def training() -> Progress:
    return Progress(
        phase=None,
        done=552,
        total=945,
        unit="steps",
        eta_seconds=1560,
        loss=0.4189,
        tokens_per_second=2310,
        peak_memory_bytes=11_400_000_000,
        warnings=1,
        time=NOW,
    )


def jobs() -> tuple[JobRow, ...]:
    memory = job_reason("job_error", error="out_of_memory", message="out of memory at length 1536")
    return (
        job(42, "running", "train judge · Qwen3-4B", progress=training()),
        job(43, "waiting", "merge judge · Qwen3-4B", reason=job_reason("after", jobs=[42])),
        job(44, "waiting", "bake-off judge, 7 models", reason=job_reason("after", jobs=[43])),
        job(45, "waiting", "train spacer · Qwen3-1.7B", reason=job_reason("slot_held", slot="gpu", job=42)),
        job(46, "waiting", "train analyst · Qwen3-8B", reason=job_reason("held", note="data not ready"), held=True),
        job(41, "done", "bake-off quizzer, 2 models", result={"message": "tied set of 2"}, ended_at=NOW - 2160),
        job(40, "done", "train quizzer · Qwen3-1.7B", result={"message": "loss 0.31"}, ended_at=NOW - 5100),
        job(38, "cancelled", "train quizzer · Qwen3-8B", reason=job_reason("cancelled"), ended_at=NOW - 6100),
        job(39, "failed", "train judge · Qwen3-8B", reason=memory, ended_at=NOW - 10000),
    )


def samples(with_gpu: bool) -> tuple[Sample, ...]:
    """Ten minutes of readings, a job beginning after three and a half of them."""
    chance = random.Random(3)
    found = []
    for second in range(601):
        busy = max(0.0, min(100.0, 97 + chance.gauss(0, 4))) if second > 200 else 2.0
        trained = second > 220
        if with_gpu:
            host = HostReading(33_500_000_000, 21 * GB - trained * 4 * GB, 2.1 if trained else 0.2, busy / 2, 16)
            gpu = DeviceReading(
                0,
                "RX 9070 XT",
                "amd",
                "0000:0f:00.0",
                vram_total_bytes=17_095_000_000,
                vram_used_bytes=12_300_000_000 if trained else 900_000_000,
                busy_percent=busy,
                power_watts=238,
                power_limit_watts=304,
                temperature_edge_c=64,
                temperature_hotspot_c=86,
            )
            holders = (ProcessReading(1, "python", 11_400_000_000, True), ProcessReading(2, "Xorg", 500_000_000))
            found.append(Sample(NOW - 600 + second, "sysfs", host, (gpu,), holders))
        else:
            host = HostReading(16_800_000_000, 12 * GB - trained * 2_400_000_000, 2.1, busy, 2)
            found.append(Sample(NOW - 600 + second, "none", host))
    return tuple(found)


def candidate(
    name: str, score: float, half: float, content: float, tied: bool = False, **changes: Any
) -> RankedCandidate:
    """A row of a leaderboard; `score` and `half` on the scale of five."""
    chance = random.Random(name)
    lost = 1 - score / 5

    def worst() -> tuple[float, ...]:
        return tuple(chance.choice([0.0, 0.5]) if chance.random() < lost else 1.0 for _ in range(36))

    checks = tuple(
        CheckMarks(check, part, 1 - lost / 2, worst())
        for check, part in (("heading", "format"), ("table", "format"), ("summary", "format"), ("verdict", "content"))
    )
    reasons = (
        ("text before the heading", 9),
        ("the table has 4 rows, 5 expected", 4),
        ("FAIL where PASS is expected", 3),
    )
    row = {
        "low": (score - half) / 5,
        "high": min(1.0, (score + half) / 5),
        "format": score / 5,
        "content": content,
        "worst": score / 5 - 0.1,
        "consistency": 0.97,
        "seconds_per_answer": 2.1,
        "tokens_per_second": 88.0,
        "answers": 108,
        "difference": f"+{score - 2.1:.2f} [{score - 2.1 - half:.2f}, {score - 2.1 + half:.2f}]",
        "checks": checks,
        "reasons": reasons if lost > 0.05 else (),
    }
    return RankedCandidate(name, score / 5, tied=tied, **{**row, **changes})


def boards() -> tuple[Board, ...]:
    inputs = tuple(f"input-{number}" for number in range(1, 37))
    judge = (
        candidate("Qwen3-4B tuned, q8_0", 4.92, 0.06, 0.91, tied=True),
        candidate("Qwen3-4B tuned, f16", 4.90, 0.06, 0.92, tied=True, seconds_per_answer=3.4, tokens_per_second=54.0),
        candidate("Qwen3-8B tuned, 4-bit", 4.61, 0.19, 0.90, seconds_per_answer=4.0, tokens_per_second=46.0),
        candidate("Qwen2.5-7B tuned", 4.55, 0.21, 0.86),
        candidate("Qwen3-4B base", 2.10, 0.28, 0.74, difference="", incumbent=True, at_limit=2),
    )
    spacer = (candidate("Qwen3-1.7B tuned", 4.31, 0.29, 0.70), candidate("Qwen3-1.7B base", 1.31, 0.29, 0.40))
    return (
        Board(
            41,
            "judge",
            "vault",
            "done",
            NOW - 2160,
            inputs,
            3,
            judge,
            "Qwen3-4B tuned, q8_0 4.92/5 over Qwen3-4B base 2.10/5: +2.82 [2.54, 3.10], p 0.0001, 36 inputs × 3",
            "Qwen3-4B tuned, q8_0 4.92/5 over Qwen3-4B base 2.10/5: +2.82 [2.54, 3.10]",
            "+2.82 [2.54, 3.10]",
            ("Tied set: 36 inputs can show 0.05 of 5; add 9 inputs to resolve 0.50.",),
            "Qwen3-4B base",
        ),
        Board(
            30,
            "spacer",
            "vault",
            "done",
            NOW - 16 * 86400,
            inputs,
            3,
            spacer,
            "Qwen3-1.7B tuned 4.31/5 over Qwen3-1.7B base 1.31/5: +3.00 [2.71, 3.29], p 0.0001, 36 inputs × 3",
            "Qwen3-1.7B tuned 4.31/5 over Qwen3-1.7B base 1.31/5: +3.00 [2.71, 3.29]",
            "+3.00 [2.71, 3.29]",
            (),
            "Qwen3-1.7B base",
        ),
    )


LOG = (
    "14:36:41 step 548/945 loss 0.4312 lr 7.1e-05 grad 0.61",
    "14:36:48 step 549/945 loss 0.4197 lr 7.1e-05 grad 0.58",
    "14:36:55 step 550/945 loss 0.4405 lr 7.1e-05 grad 0.66",
    "14:36:58 checkpoint-550 written, 132 MB, 0.9 s",
    "14:37:05 step 551/945 loss 0.4228 lr 7.0e-05 grad 0.57",
    "14:37:09 eval loss 0.4371, the best so far",
    "14:37:09 warning: 2 examples skipped, see the audit",
    "14:37:12 step 552/945 loss 0.4189 lr 7.0e-05 grad 0.55",
)


def forecast() -> RunForecast:
    """Of the running training: 4B in bf16 at rank 32."""
    components = {
        "weights": 8_045_000_000,
        "lora": 264_000_000,
        "gradients": 264_000_000,
        "optimizer": 528_000_000,
        "checkpoints": 1_500_000_000,
        "recompute": 900_000_000,
    }
    return RunForecast(
        allocated_bytes=11_700_000_000,
        plus_minus_bytes=200_000_000,
        device_bytes=12_284_000_000,
        limit_bytes=15_682_000_000,
        budget="RX 9070 XT",
        components=tuple(components.items()),
        calibrated_by=9,
    )


def rungs() -> tuple[OomFallback, ...]:
    """Two steps of the ladder, the second after ten steps of training."""
    short = "CUDA out of memory. Tried to allocate 1.16 GiB"
    return (
        OomFallback(1, NOW - 2000, 1, (("batch_size", 2, 1), ("accumulation", 4, 8)), short, None),
        OomFallback(2, NOW - 1700, 1, (("activation_checkpointing", False, True),), short, 10),
    )


def detail() -> Detail:
    chance = random.Random(5)
    losses = tuple((step, 3.2 * math.exp(-step / 80) + 0.38 + chance.gauss(0, 0.02)) for step in range(1, 553))
    return Detail(
        42,
        "lora-bf16, rank 32",
        LOG,
        losses=losses,
        evals=((500, 0.45), (550, 0.4371)),
        progress=replace(training(), checkpoint_step=550),
        forecast=forecast(),
    )


def scene(with_gpu: bool = True, **changes: Any) -> Snapshot:
    """The whole of it; `changes` replace fields of the snapshot."""
    tasks = ["judge", "planner", "quizzer", "seeder", "spacer", "reflector", "analyst", "summarizer"]
    fields: dict[str, Any] = {
        "time": NOW,
        "host": "gpubox",
        "project": "vault",
        "jobs": jobs(),
        "counts": {"running": 1, "waiting": 4, "done": 2, "failed": 1, "cancelled": 1},
        "queue": QueueState(False, "", ""),
        "runner_alive": True,
        "samples": samples(with_gpu),
        "slot": Slot(True, 42, NOW - 2100, forecast=forecast()),
        "ladders": {39: 3},
        "tasks": tuple(TaskLine(name, "vault") for name in tasks),
        "boards": boards(),
        "detail": detail(),
        "ready": True,
    }
    return Snapshot(**{**fields, **changes})
