"""The stand-in for Go's templates, held to what real Ollama servers rendered."""

from __future__ import annotations

import pytest

from tests.support.go_template import GoTemplateError, execute, parse
from tests.support.ollama_render import capabilities, prompt
from tests.support.recorded_models import BARE, RECORDED, recorded_renders

recorded = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama/recorded) are not here"
)


@recorded
def test_every_recorded_template_of_the_older_server_renders_as_there() -> None:
    """0.24 has nothing but Go templates: all of its renders are held."""
    renders = recorded_renders("0.24.0")
    assert len(renders) >= 46
    for one in renders:
        template = one.template or BARE
        if one.rendered is None:
            assert one.think and "thinking" not in capabilities(template) and "does not support thinking" in one.error
        else:
            assert prompt(template, one.messages, one.think, system=one.system) == one.rendered, one.exchange


@recorded
def test_every_go_template_that_ran_on_the_newer_server_renders_as_there() -> None:
    held = [one for one in recorded_renders("0.33.0-rc2") if one.jinja is None and one.template is not None]
    assert len(held) >= 24
    for one in held:
        assert one.template is not None
        if one.rendered is not None:
            assert prompt(one.template, one.messages, one.think, system=one.system) == one.rendered, one.exchange


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("a {{- 1 }} b", "a1 b"),
        ("a\n{{- /* nothing */ -}}\n b", "ab"),
        ('{{ "{{" }}{{ `"` }}{{ "\\U0001f956\\n" }}', '{{"🥖\n'),
        ("{{ range $i, $m := .M }}{{ $i }}{{ .R }}{{ $m.R }}{{ else }}none{{ end }}", "0xx1yy"),
        ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
        ("{{ $n := 1 }}{{ range .M }}{{ $n = 2 }}{{ end }}{{ $n }}", "2"),
        ("{{ if eq .A 1 }}one{{ else if eq .A 3 2 }}two{{ else }}more{{ end }}", "two"),
        ("{{ with .S }}{{ . }}{{ end }}{{ with .None }}x{{ else }}-{{ end }}", "s-"),
        ("{{ if and .None (index .None 3) }}x{{ end }}{{ (index .M 1).R }}{{ len .M }}", "y2"),
        ('{{ .A | print }}{{ not .A }}{{ or .None .S }}{{ ne .S "s" }}', "2falsesfalse"),
    ],
)
def test_the_grammar(source: str, written: str) -> None:
    data = {"A": 2, "S": "s", "None": (), "M": [{"R": "x"}, {"R": "y"}]}
    assert execute(parse(source), data) == written


@pytest.mark.parametrize(
    "source", ["{{ if .Messages }", "{{ if .A }}", "{{ end }}", "{{ nothing .A }}{{", "{{ .A ! }}"]
)
def test_what_is_no_template_is_refused(source: str) -> None:
    with pytest.raises(GoTemplateError):
        parse(source)
