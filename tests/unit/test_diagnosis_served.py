"""What `why` says of what serves: a deployment that was refused, a model that is not the deployed one, one made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.diagnosis.lineage import read_lineage
from core.parity.comparison import CAUSES
from core.serving.answering import ServedIdentity
from core.wording.diagnosis import cause_words, headline, remedy_words
from tests.support.diagnosed import codes, seen, told, words
from tests.support.recorded_lineage import ADAPTER, BAD, Q8_0, Records, whole_chain
from tests.unit.test_named_commands import check, nothing_runs  # noqa: F401 - a fixture of every test here

NAME, SERVED = "judge:smollm2-4", "ollama:judge:smollm2-4"
BLOB, TEMPLATE = "sha256:" + "a" * 64, "b" * 64
PROVED = {"blob": BLOB, "template_sha256": TEMPLATE, "server": "0.33.0"}
LOOP = "and so on and on, " * 60


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def identity(**changes: Any) -> ServedIdentity:
    usual = {"api": "ollama", "model": NAME, "version": "0.33.0", "weights": BLOB, "template": TEMPLATE}
    return ServedIdentity(**{**usual, **changes})


@pytest.mark.parametrize("code", CAUSES)
def test_a_deployment_that_was_refused_is_told_by_its_cause(records: Records, code: str) -> None:
    values = {"trained": "a", "served": "b", "said": "no", "form": "NFC"}
    case = {"name": "plain", "same": False, "first_difference": 3, "cause": {"code": code, "values": values}}
    *_, quantized = whole_chain(records)
    refused = records.deploy(quantized, NAME, document={"cases": [case]}, state="failed")
    for job in (refused, quantized):
        found = told(records, job)
        (cause,) = found.causes or [None]
        if code == "normal_form_differs":  # which blocks nothing
            assert cause is None
            continue
        assert cause is not None and (cause.code, cause.job, cause.certainty) == (code, refused, "shown")
        assert cause_words(cause) in words(found) and remedy_words(cause, found) in words(found)
        assert f"deploy {refused}" in words(found)


def test_a_file_whose_own_template_a_llama_server_refused_is_converted_again(records: Records) -> None:
    _, merged, _, quantized = whole_chain(records)
    case = {"name": "plain", "same": False, "first_difference": 3, "cause": {"code": "other_template", "values": {}}}
    document = {"cases": [case]}
    refused = records.deploy(quantized, "judge-4", document=document, state="failed", to="llama-server")
    found = told(records, refused)
    (cause,) = found.causes
    assert f"`bakehouse export {merged} --to gguf --again`" in remedy_words(cause, found)


def test_a_deployment_that_failed_before_any_prompt_is_no_all_clear(records: Records) -> None:
    *_, quantized = whole_chain(records)
    refused = records.deploy(quantized, NAME, document={"passed": None}, state="failed")
    found = told(records, refused)
    assert found.causes == () and [link.id for link in found.failed] == [refused]
    assert headline(found).startswith(f"Job {refused}, a deployment, failed")


def test_a_served_model_is_the_last_stage_of_the_lineage(records: Records) -> None:
    training, _, _, quantized = whole_chain(records)
    deployed = records.deploy(quantized, NAME, **PROVED)
    baked = records.bakeoff({ADAPTER: training, Q8_0: quantized}, served={SERVED: identity()}, quality={SERVED: BAD})
    for job in (baked, deployed, training):
        found = told(records, job)
        assert [(one.stage, one.job) for one in found.scores][-1] == ("served", deployed)
        (lost,) = [cause for cause in found.causes if cause.code == "loss_at_stage"]
        assert (lost.job, lost.certainty) == (deployed, "shown")
        assert (lost.reason.values["before"], lost.reason.values["after"]) == ("Q8_0", "served")
        assert found.passed == (deployed,), "as it was deployed"
        (test,) = [one for one in found.tests if job in (baked, deployed)] or [None]
        assert test is None or test.command == f"bakehouse parity {SERVED} --task judge --model SmolLM2-135M --wait"


@pytest.mark.parametrize("name", [SERVED, NAME, NAME.upper()])
def test_a_bake_off_of_what_was_deployed_alone_belongs_to_its_training(records: Records, name: str) -> None:
    """A model of the built-in Ollama is named without its server, and Ollama's names are the same in any case."""
    training, _, _, quantized = whole_chain(records)
    deployed = records.deploy(quantized, NAME, **PROVED)
    baked = records.bakeoff({}, served={name: identity()})
    found = read_lineage(records.home, records.connection, training)
    assert {deployed, baked} <= found.by_id.keys()


@pytest.mark.parametrize(
    ("changes", "code", "certainty"),
    [
        ({"weights": "sha256:" + "c" * 64}, "served_weights_changed", "shown"),
        ({"template": "d" * 64}, "served_template_changed", "shown"),
        ({"version": "0.40.0"}, "server_version_changed", "possible"),
    ],
)
def test_a_served_model_that_is_not_what_was_proved_is_told(
    records: Records, changes: dict[str, str], code: str, certainty: str
) -> None:
    training, _, _, quantized = whole_chain(records)
    deployed = records.deploy(quantized, NAME, **PROVED)
    served = {SERVED: identity(**changes)}
    baked = records.bakeoff({ADAPTER: training}, served=served, write=lambda name, *_: LOOP if name == SERVED else "")
    found = told(records, baked)
    (cause,) = [one for one in found.causes if one.code == code]
    assert (cause.job, cause.certainty) == (deployed, certainty)
    wanted = f"bakehouse parity {SERVED} --task judge --model SmolLM2-135M --wait"
    assert wanted in [one.command for one in found.tests]
    check(wanted, whole=True)
    assert "repetition" in seen(found)


@pytest.mark.parametrize(("weights", "expected"), [(BLOB, set()), ("sha256:" + "c" * 64, {"served_weights_changed"})])
def test_a_served_model_of_the_home_is_held_to_its_weights(records: Records, weights: str, expected: set[str]) -> None:
    """llama-server tells its version and its template in another way than the program and the file do: they are no change."""
    *_, quantized = whole_chain(records)
    noted = {"weights": BLOB, "template_sha256": TEMPLATE, "server": "0.6.0-dev (build 0)"}
    deployed = records.deploy(quantized, "judge-small-4", to="llama-server", **noted)
    served = identity(api="llama-server", model="judge-small-4", version="b0", template="f" * 64, weights=weights)
    write = lambda name, *_: LOOP if name == "served:judge-small-4" else ""  # noqa: E731
    found = told(records, records.bakeoff({}, served={"served:judge-small-4": served}, write=write))
    assert {cause.code for cause in found.causes if cause.code.startswith("serve")} == expected
    assert ("served", deployed) in {(one.stage, one.job) for one in found.scores}
    for one in found.tests:
        check(one.command, whole=True)


def test_a_model_that_a_person_made_of_a_file_is_told_and_no_fault_of_the_file(records: Records) -> None:
    training, _, converted, _ = whole_chain(records)
    quantized = records.quantize(converted, file_sha256="e" * 64)
    by_hand = identity(model="mine", weights="sha256:" + "e" * 64)
    baked = records.bakeoff(
        {ADAPTER: training},
        served={"ollama:mine": by_hand},
        write=lambda name, *_: LOOP if name == "ollama:mine" else "",
        values={"ollama:mine": {"more_prompt_tokens": -9}},
    )
    found = told(records, baked)
    by_code = {cause.code: cause for cause in found.causes}
    assert by_code["served_by_hand"].job == quantized
    assert by_code["prompt_tokens_differ"].job == baked and "system_dropped" in codes(found)
    (test,) = [one for one in found.tests if one.code == "prompts" and "ollama:mine" in one.command]
    assert test.command == "bakehouse parity ollama:mine --task judge --model SmolLM2-135M --wait"
