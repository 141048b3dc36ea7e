"""The words for the evidence of a promotion: a line a condition, with its figures and what would tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.bakeoff.figures import count, signed
from core.fleet.gate import Condition, Gate
from core.format import SCORE_SCALE, listed, score_figure, share
from core.text import printable

Values = Mapping[str, Any]
SIGNS: Mapping[str, str] = {"pass": "✓", "fail": "✗", "cannot_tell": "?", "not_asked": "–"}
OUTCOMES: Mapping[str, str] = {
    "pass": "pass",
    "fail": "fail",
    "cannot_tell": "cannot tell",
    "not_asked": "does not apply",
}
NAMES: Mapping[str, str] = {
    "measured": "measured",
    "incumbent_measured": "incumbent",
    "not_worse": "not worse",
    "parity": "prompts",
    "no_leak": "no leak",
    "other_task": "other task",
    "fresh": "fresh",
    "complete": "complete",
}
_WHAT: Mapping[str, str] = {
    "weights": "its weights",
    "template": "its template",
    "parameters": "its parameters",
    "version": "the version of its server",
    "task": "the task",
    "checks": "the checks",
    "margin": "the margin",
    "golden": "the golden inputs",
    "system": "the system message",
    "thinking": "thinking",
    "sampling": "the sampling",
}


def gate_title(gate: Gate) -> str:
    """`judge: qwen3-4b-judge for vault-judge, now Qwen2.5-7B: cannot tell`."""
    now = f", now {gate.incumbent}" if gate.incumbent else ", which serves nothing yet"
    return printable(f"{gate.task}: {gate.candidate} for {gate.alias}{now}: {OUTCOMES[gate.outcome]}")


def condition_head(one: Condition) -> str:
    """What stands before the words of a condition, as wide for each: its sign and its name."""
    return f"{SIGNS[one.outcome]} {NAMES[one.code]:<{max(map(len, NAMES.values()))}}  "


def basis_words(gate: Gate) -> list[str]:
    """Which inputs the conditions rest on, and of how many candidates this one may have been chosen."""
    if gate.bakeoff_job is None:
        return []
    if not gate.same_inputs:
        return ["The scores are of the inputs that are kept to confirm by."]
    if gate.best_of > 1:
        return [f"Best of {gate.best_of}, same inputs: whoever was chosen by them looks better on them than it is."]
    return ["No input is kept to confirm by: the scores are of all inputs."]


def condition_words(one: Condition) -> str:
    """One condition, as a line. A code that this version does not know is shown as it is."""
    try:
        return printable(_WORDS[one.code](one.values, one.outcome))
    except (KeyError, TypeError, ValueError):
        return printable(f"{OUTCOMES.get(one.outcome, one.outcome)} ({one.values.get('why', one.code)})")


def _measured(values: Values, outcome: str) -> str:
    if outcome == "pass":
        return f"bake-off {values['job']}, as it serves now{_asked_with(values)}"
    words = {
        "no_bakeoff": f"no bake-off that is done measured what serves under this name{_asked_with(values)}",
        "no_answer": "its server does not say what it has now",
    }
    return words.get(values["why"]) or _since(values)


def _incumbent(values: Values, outcome: str) -> str:
    if outcome == "pass":
        return f"in the same bake-off, as it serves now ({values['name']}){_asked_with(values)}"
    job, alias = values.get("job"), values.get("alias")
    words = {
        "no_incumbent": "the alias serves nothing yet",
        "no_bakeoff": f"no bake-off holds the candidate against {alias}",
        "not_in_it": f"bake-off {job} did not ask what {alias} is now{_asked_with(values)}",
        "no_answer": f"the server does not say what {alias} is now",
        "gone": f"nothing is under {alias} on its server (`bakehouse fleet rollback` puts back what was)",
    }
    return words.get(values["why"]) or _since(values)


def _asked_with(values: Values) -> str:
    """`, asked with the 3 examples that requests send (@few_shot=3)`; empty where they send none."""
    sent = int(values.get("examples") or 0)
    if not sent:
        return ""
    if values.get("other_examples"):
        return f", asked with {count(sent, 'example')} as its requests are (@few_shot={sent}), though not with the same"
    return f", asked with the {count(sent, 'example')} that requests send (@few_shot={sent})"


def _since(values: Values) -> str:
    what = listed([_WHAT.get(one, one) for one in values.get("what") or ()])
    return {
        "changed": f"since bake-off {values['job']} {what} changed: bake it off again",
        "unknown": f"whether {what} changed since bake-off {values['job']} is not known",
        "mixed": f"{values.get('name')} became another model while bake-off {values['job']} asked it",
    }[values["why"]]


def _not_worse(values: Values, outcome: str) -> str:
    why = values.get("why")
    if why is not None:
        return {
            "no_incumbent": "nothing serves yet that the candidate could be worse than",
            "no_bakeoff": "no bake-off holds the two against each other",
            "not_in_it": "the bake-off did not ask what the alias is now",
            "no_checks": "the task has no checks, so nothing is scored",
        }[why]
    margin = f"{score_figure(values['margin'])} of {SCORE_SCALE}"
    said = {
        "pass": f"no worse by {margin} (the margin)",
        "fail": f"worse by more than {margin} (the margin)",
        "cannot_tell": f"these inputs cannot tell whether it is worse by {margin} (the margin)",
    }[outcome]
    return f"{values['part']}: {said}; {_figures(values, outcome)}{_telling(values, outcome)}"


def _figures(values: Values, outcome: str) -> str:
    inputs = count(int(values["inputs"]), "input")
    if values["clusters"] != values["inputs"]:
        inputs += f" of {count(int(values['clusters']), 'source')}"
    if values["difference"] is None:
        return "no input has an answer of both"
    if values["could_differ"] is not None:
        return f"differences: none seen in {inputs}; up to {share(values['could_differ'])} could differ"
    end, side = (values["high"], "at most") if outcome == "fail" else (values["low"], "at least")
    verdict = {"better": "; the bake-off calls it better", "worse": "; the bake-off calls it worse"}
    told = verdict.get(values.get("verdict") or "", "")
    return f"{signed(values['difference'])}, {side} {signed(end)} (95 %, one-sided) over {inputs}{told}"


def _telling(values: Values, outcome: str) -> str:
    missing = f"; {count(int(values['missing']), 'input')} with answers missing" if values["missing"] else ""
    if outcome != "cannot_tell":
        return missing
    if values["missing_decides"]:
        return f"{missing}, which decide: ask for them"
    if values["needed"] is not None:
        unit = "input" if values["clusters"] == values["inputs"] else "source"
        return f"{missing}; about {count(int(values['needed']), unit)} would tell"
    return missing


def _parity(values: Values, outcome: str) -> str:
    if outcome == "pass":
        return f"those of training: {count(int(values['prompts']), 'prompt')} compared by job {values['job']}"
    if outcome == "fail":
        return f"not those of training: `bakehouse parity`, job {values['job']}, found {values['finding']}"
    if values["why"] == "changed":
        what = listed([_WHAT.get(one, one) for one in values["what"]])
        return f"since job {values['job']} compared them {what} changed: check them again (`bakehouse parity`)"
    if values["why"] == "no_answer":
        return "its server does not say what it has now"
    return "nobody compared the prompts of what serves with those of training (`bakehouse parity`)"


def _no_leak(values: Values, outcome: str) -> str:
    if outcome == "fail":
        more = f" and {values['leaks'] - len(values['inputs'])} more" if values["leaks"] > len(values["inputs"]) else ""
        inputs = f"{', '.join(values['inputs'])}{more}"
        return f"golden inputs are in its training data ({inputs}; {values['data']}, training {values['job']})"
    if outcome == "pass":
        if values.get("why") == "not_trained":
            return "nothing was trained: it is a base model as it came"
        return (
            f"{count(int(values['golden']), 'golden input')}, none of them in {count(int(values['examples']), 'example')} "
            f"of {values['data']}"
        )
    return {
        "unknown_lineage": "what it was trained on is not known: no job of this home made it",
        "base_made_here": f"training {values.get('job')} began at a model of this home, whose data are not looked through",
        "data_gone": f"the data of training {values.get('job')} are gone",
        "unreadable": f"the data of training {values.get('job')} cannot be read: {values.get('said')}",
        "no_answer": "its server does not say what it has now",
    }[values["why"]]


def _other_task(values: Values, outcome: str) -> str:
    task = values["task"]
    if values.get("why") == "not_measured":
        return f"{task}: no bake-off holds the candidate against what serves there"
    code = values["condition"]
    words = _WORDS[code](values, outcome)
    return f"{task}: {words}"


def _fresh(values: Values, outcome: str) -> str:
    if outcome == "pass":
        return "task, checks and golden inputs are as they were measured"
    if values["why"] == "no_bakeoff":
        return "nothing was measured"
    what = listed([_WHAT.get(one, one) for one in values.get("what") or ()])
    return {
        "changed": f"since bake-off {values['job']} these changed: {what}",
        "unknown": f"whether {what} changed since bake-off {values['job']} is not known",
        "outdated": f"this version does some checks of bake-off {values['job']} otherwise (`bakehouse results --rescore`)",
    }[values["why"]]


def _complete(values: Values, outcome: str) -> str:
    if outcome == "pass":
        return f"both answered {count(int(values['inputs']), 'input')} × {values['repeats']}"
    job, name = values.get("job"), values.get("name")
    unjudged = f", {values['unjudged']} of them not judged" if values.get("unjudged") else ""
    return {
        "no_bakeoff": "nothing was measured",
        "curtailed": f"{name} was not asked to the end: it could not reach the incumbent any more",
        "missing": f"{count(int(values.get('missing', 0)), 'answer')} of {name} missing in bake-off {job}{unjudged}; what they "
        "were is not assumed",
    }[values["why"]]


_WORDS: Mapping[str, Callable[[Values, str], str]] = {
    "measured": _measured,
    "incumbent_measured": _incumbent,
    "not_worse": _not_worse,
    "parity": _parity,
    "no_leak": _no_leak,
    "other_task": _other_task,
    "fresh": _fresh,
    "complete": _complete,
}
