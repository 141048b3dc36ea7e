"""The environment profiles: which GPU gets which, what a person's own environment becomes, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.gpu import environment_profile
from core.gpu.devices import find_gpu
from core.gpu.environment_profile import (
    Environment,
    GpuProfile,
    environment,
    load_profile,
    profile_for,
    profile_of,
    profiles,
)
from tests.support.machines import FakeMachine

EXPANDABLE = "expandable_segments:True"
ALLOCATORS = ("PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
CACHING = "PYTORCH_NO_HIP_MEMORY_CACHING"


def on(architecture: str | None, **environ: str) -> Environment:
    return environment(profile_of("amd", architecture), environ, {})


@pytest.mark.parametrize(
    ("vendor", "architecture", "name"),
    [
        ("amd", "gfx1201", "gfx1201"),
        ("amd", "gfx1200", "gfx1200"),
        ("amd", "gfx1100", "gfx11xx"),
        ("amd", "gfx1102", "gfx11xx"),
        ("amd", "gfx1151", "gfx11xx"),
        ("amd", "gfx1030", "amd"),
        ("amd", None, "amd"),
        ("nvidia", None, "cuda"),
        ("nvidia", "9.0", "cuda"),
    ],
)
def test_each_gpu_gets_the_profile_that_meets_it_most_exactly(vendor: str, architecture: str | None, name: str) -> None:
    profile = profile_of(vendor, architecture)
    assert profile is not None
    assert profile.name == name


def test_a_vendor_without_a_profile_and_a_machine_without_a_gpu_get_none() -> None:
    assert profile_of("intel", "xe2") is None
    assert profile_for(None) is None
    assert environment(None, {"MIOPEN_FIND_MODE": "3"}, {}) == Environment({}, (), ())


def test_the_kernel_s_word_for_the_gpu_decides(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path).amd("0000:2b:00.0", gfx=120000)
    profile = profile_for(find_gpu(machine.environ))
    assert profile is not None
    assert profile.name == "gfx1200"


def test_every_variable_has_its_reason_in_one_line() -> None:
    for profile in profiles():
        reasons = [*profile.unset.values(), *(one.why for one in profile.set.values())]
        reasons += [one.why for one in (*profile.without.values(), *profile.remedies.values())]
        assert reasons, profile.name
        for reason in reasons:
            assert reason.strip()
            assert "\n" not in reason.strip()


@pytest.mark.parametrize("architecture", ["gfx1200", "gfx1201", "gfx1100", "gfx1151", "gfx90a", None])
@pytest.mark.parametrize("name", ALLOCATORS)
def test_no_amd_gpu_trains_with_segments_that_grow(architecture: str | None, name: str) -> None:
    alone = on(architecture, **{name: EXPANDABLE})
    assert name in alone.unset
    assert name not in alone.set
    among = on(architecture, **{name: f"max_split_size_mb:64, {EXPANDABLE} ,garbage_collection_threshold:0.9"})
    assert among.set[name] == "max_split_size_mb:64,garbage_collection_threshold:0.9"
    assert name not in among.unset
    harmless = on(architecture, **{name: "expandable_segments:False"})
    assert name not in harmless.set
    assert name not in harmless.unset


def test_aotriton_s_experimental_kernels_are_asked_for_where_attention_needs_them_and_not_on_gfx1201() -> None:
    name = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
    assert {arch: name in on(arch).set for arch in ("gfx1200", "gfx1151", "gfx1201")} == {
        "gfx1200": True,
        "gfx1151": True,
        "gfx1201": False,
    }


def test_memory_caching_is_a_remedy_and_never_set_by_itself() -> None:
    for profile in profiles():
        assert CACHING not in profile.set
    for name in ("gfx1200", "gfx1201"):
        profile = profile_of("amd", name)
        assert profile is not None
        assert profile.remedies[CACHING].value == "1"


def test_the_override_is_unset_on_gpus_that_rocm_knows_and_left_alone_on_others() -> None:
    assert on("gfx1201", HSA_OVERRIDE_GFX_VERSION="11.0.0").unset == ("HSA_OVERRIDE_GFX_VERSION",)
    assert on("gfx1030", HSA_OVERRIDE_GFX_VERSION="10.3.0").unset == ()


def test_a_person_s_own_value_of_what_a_profile_sets_stays_and_is_told() -> None:
    made = on("gfx1201", MIOPEN_FIND_MODE="NORMAL")
    assert "MIOPEN_FIND_MODE" not in made.set
    kept = next(one for one in made.decisions if one.variable == "MIOPEN_FIND_MODE")
    assert (kept.action, kept.value, kept.origin, kept.conflict) == ("kept", "NORMAL", "yours", True)
    same = next(one for one in on("gfx1201", MIOPEN_FIND_MODE="FAST").decisions if one.variable == "MIOPEN_FIND_MODE")
    assert not same.conflict, "who says the same stands against nothing"


def test_another_spelling_of_a_variable_that_a_person_has_set_counts_too() -> None:
    profile = profile_of("nvidia", None)
    made = environment(profile, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"}, {})
    assert made.set == {}
    assert environment(profile, {}, {}).set == {"PYTORCH_ALLOC_CONF": EXPANDABLE}


def test_the_settings_win_over_profile_and_person_and_null_leaves_a_variable_as_it_is() -> None:
    profile = profile_of("amd", "gfx1200")
    environ = {"HSA_OVERRIDE_GFX_VERSION": "12.0.0", "MIOPEN_FIND_MODE": "NORMAL", "PYTORCH_HIP_ALLOC_CONF": EXPANDABLE}
    made = environment(
        profile,
        environ,
        {"HSA_OVERRIDE_GFX_VERSION": None, "MIOPEN_FIND_MODE": "DYNAMIC_HYBRID", "PYTORCH_HIP_ALLOC_CONF": None},
    )
    assert made.unset == ()
    assert made.set == {"MIOPEN_FIND_MODE": "DYNAMIC_HYBRID", "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL": "1"}
    assert environment(None, {}, {"HF_HUB_OFFLINE": "1"}).set == {"HF_HUB_OFFLINE": "1"}, "also without a GPU"


@pytest.mark.parametrize("name", ["HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "BAKEHOUSE_HOME"])
def test_the_settings_cannot_move_a_job_to_a_gpu_that_nobody_leased(name: str) -> None:
    made = environment(profile_of("amd", "gfx1201"), {}, {name: "1"})
    assert name not in made.set
    assert any(one.variable == name and one.conflict for one in made.decisions)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("vendor: intel\narchitectures: [xe2]\n", 1, "vendor"),
        ("vendor: amd\narchitectures: []\n", 2, "architectures"),
        ("vendor: amd\narchitectures: [gfx1100]\nset:\n  A:\n    value: 1\n    why: it helps\n", 5, "set.A.value"),
        ("vendor: amd\narchitectures: [gfx1100]\nset:\n  A: {value: '1'}\n", 4, "set.A.why"),
        ("vendor: amd\narchitectures: [gfx1100]\nunset:\n  A:\n", 4, "unset.A"),
        ("vendor: amd\narchitectures: [gfx1100]\nunsets: {}\n", 3, "unsets"),
    ],
)
def test_a_wrong_file_is_told_with_line_and_key(tmp_path: Path, text: str, line: int, key: str) -> None:
    file = tmp_path / "gfx1100.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_profile(file)
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(file), line, key)


def test_a_profile_is_named_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "gfx1030.yaml"
    file.write_text("vendor: amd\narchitectures: [gfx1030]\n")
    profile = load_profile(file)
    assert isinstance(profile, GpuProfile)
    assert profile.name == "gfx1030"


def test_the_profiles_are_in_the_folder_that_the_wheel_carries() -> None:
    root = Path(__file__).parents[2]
    assert environment_profile.shipped_root() / environment_profile.PROFILES == root / "configs/gpu"
    assert '"configs" = "core/shipped/configs"' in (root / "pyproject.toml").read_text()
