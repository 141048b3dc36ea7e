"""What one export is asked for, and what is said of one that was made already: by the command and in the console."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from core.jobfile.merge import MergeSpec, survival_words
from core.jobfile.spec import JobFile
from core.store.jobs import get_job
from core.submission.candidates import parse_candidates
from core.submission.merge import earlier_merge, submit_merge
from core.submission.wanted_export import WantedMerge
from tests.support.kiln import SURVIVAL, Kiln, kiln
from tests.support.model_folders import write_adapter

__all__ = ["kiln"]


def test_each_format_is_merged_once(kiln: Kiln) -> None:
    first = kiln.merge()
    with pytest.raises(InputError) as caught:
        kiln.merge()
    assert caught.value.code == "already_merged" and f"job {first.id} " in str(caught.value)
    folder = kiln.done(first)
    with pytest.raises(InputError, match=f"already merged as job {first.id}: {folder}"):
        kiln.merge()
    other = kiln.merge("fp32")
    spec = JobFile.load(kiln.home.run_dir(other.id)).spec
    assert isinstance(spec, MergeSpec) and spec.dtype == "fp32"
    assert kiln.merge(again=True).id > other.id


def test_each_of_the_two_bases_is_merged_into_once(kiln: Kiln) -> None:
    with pytest.raises(InputError) as caught:
        kiln.merge(base_weights="dequantized")
    assert caught.value.code == "not_quantized"
    kiln.train_on_four_bits()
    plain, seen = kiln.merge(), kiln.merge(base_weights="dequantized")
    assert seen.id > plain.id and plain.title != seen.title
    with pytest.raises(InputError) as caught:
        kiln.merge(base_weights="dequantized")
    assert caught.value.code == "already_merged" and f"job {seen.id} " in str(caught.value)
    both = [f"job:{job.id}" for job in (plain, seen)]
    names = [one.name for one in parse_candidates(kiln.home, kiln.connection, shipped(), both)]
    assert names == ["m tuned, merged", "m tuned, merged into the dequantized base"]
    spec = JobFile.load(kiln.home.run_dir(seen.id)).spec
    assert "hqq" in spec.packages and "hqq" not in JobFile.load(kiln.home.run_dir(plain.id)).spec.packages


@pytest.mark.parametrize(
    "wanted",
    [WantedMerge("job:12", "fp32"), WantedMerge("job:12", base_weights="dequantized"), WantedMerge("./an adapter")],
)
def test_the_command_that_is_shown_asks_for_the_same_merge(
    wanted: WantedMerge, kiln: Kiln, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WantedMerge] = []
    monkeypatch.setattr("core.submission.merge.earlier_merge", lambda home, connection, one: None)

    def note(home: Home, project: Any, one: WantedMerge, *, again: bool, author: str) -> None:
        asked.append(one)
        raise InputError("enough", code="enough")

    monkeypatch.setattr("core.submission.merge.submit_merge", note)
    with pytest.raises(SystemExit):
        main(shlex.split(wanted.command)[1:])
    assert asked == [wanted]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_merge_that_came_to_nothing_or_whose_files_are_gone_is_made_again(kiln: Kiln, state: str) -> None:
    kiln.end(kiln.merge().id, state)
    second = kiln.merge()
    shutil.rmtree(kiln.done(second))
    assert earlier_merge(kiln.home, kiln.connection, WantedMerge(f"job:{kiln.train}")) is None
    assert kiln.merge().id > second.id


def test_the_command_says_where_the_result_lies_and_how_much_survived(
    kiln: Kiln, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as leave:
            main(["export", str(kiln.train), *words])
        return int(leave.value.code or 0), capsys.readouterr().out

    assert export("--dtype", "bfloat16")[0] == 0
    job = kiln.connection.execute("SELECT max(id) FROM jobs").fetchone()[0]
    folder = kiln.done(get_job(kiln.connection, job))
    code, out = export()
    assert (code, out) == (0, f"already merged as job {job}: {folder}\n")
    code, out = export("--json", "--wait")
    document = json.loads(out)
    assert (code, document["already_merged"], document["path"]) == (0, True, str(folder))
    assert document["survival"] == SURVIVAL
    assert export("--again")[0] == 0 and get_job(kiln.connection, job + 1).kind == "merge"


def test_the_adapter_of_another_tool_is_exported_by_its_folder(kiln: Kiln, tmp_path: Path) -> None:
    assert kiln.model.path is not None
    folder = write_adapter(tmp_path / "lora", kiln.model.path)
    job = submit_merge(kiln.home, shipped(), WantedMerge(str(folder), "fp16"), author="tester")
    spec = JobFile.load(kiln.home.run_dir(job.id)).spec
    assert isinstance(spec, MergeSpec)
    assert (spec.adapter, spec.dtype, spec.model.path, job.needs) == (str(folder), "fp16", kiln.model.path, ())
    with pytest.raises(InputError) as caught:
        submit_merge(kiln.home, shipped(), WantedMerge(str(kiln.model.path)), author="tester")
    assert caught.value.code == "no_adapter"


@pytest.mark.parametrize(
    ("share", "unchanged", "words"),
    [
        (0.978, 0, "98 % of the update survives in bf16"),
        (0.41, 3, "3 of its tensors did not change"),
        (0.41, 0, "keeps more"),
        (1.00002, 0, "100 % of the update"),
        (0.0004, 0, "<1 % of the update"),
    ],
)
def test_what_survives_is_one_line(share: float, unchanged: int, words: str) -> None:
    said = survival_words({**SURVIVAL, "share": share, "unchanged": unchanged})
    assert words in said and "91 % in model.layers.1.mlp.down_proj.weight" in said and "\n" not in said


@pytest.mark.parametrize(
    ("written", "better"),
    [
        ({"dtype": "bf16"}, "`export --dtype fp16` or `fp32` keeps more"),
        ({"dtype": "fp16"}, "`export --dtype fp32` keeps more"),
        ({"dtype": "Q8_0", "merged": "bf16", "unknown": 0}, "`export --dtype fp16` or `fp32` keeps more"),
        ({"dtype": "Q8_0", "merged": "fp32", "unknown": 2}, ""),
    ],
)
def test_the_formats_that_keep_more_are_named_where_there_are_any(written: dict[str, object], better: str) -> None:
    said = survival_words({**SURVIVAL, **written, "share": 0.5})
    assert said.endswith(better) if better else "keeps more" not in said
    assert ("of 2 tensors it is unknown" in said) is bool(written.get("unknown"))
    assert "keeps more" not in survival_words({**SURVIVAL, **written, "share": 0.95})


def test_an_update_that_rounding_buries_is_said_to_be() -> None:
    assert (
        survival_words({**SURVIVAL, "share": 1.3, "cosine": 0.04}).count("most of what moved is rounding (cosine 0.04)")
        == 1
    )
    assert "rounding" not in survival_words({**SURVIVAL, "cosine": 0.98}) + survival_words(SURVIVAL)


def test_a_format_that_nobody_knows_is_refused_with_those_there_are(
    kiln: Kiln, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leave:
        main(["export", "1", "--dtype", "int8"])
    assert leave.value.code == 2 and "bf16" in capsys.readouterr().err
