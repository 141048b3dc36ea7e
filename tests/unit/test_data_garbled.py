"""Texts that were damaged on their way are told before they are learnt; texts of any language are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.garbled import is_filled, is_garbled
from core.data.inspection import Inspection, inspect
from core.data.reading import read_data
from core.data.source import DataSource
from core.wording.data import warning_words

LATIN = st.text("äöüßéèñçøåœ€’“”–…»« abcj", min_size=1, max_size=12)


def inspected(*answers: str) -> Inspection:
    lines = "\n".join(json.dumps({"prompt": f"q{n}", "completion": text}) for n, text in enumerate(answers))
    return inspect(read_data(DataSource(Path("x.jsonl"), lines.encode())))


@given(LATIN)
def test_utf_8_that_was_read_as_latin_is_found_and_the_text_itself_is_not(text: str) -> None:
    spoilt = "".join(
        chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes((byte,)).decode("cp1252")
        for byte in text.encode()
    )
    assert text.isascii() or is_garbled(f"so {spoilt}")
    assert not is_garbled(text)
    assert not is_garbled(spoilt.encode("ascii", "ignore").decode())


@pytest.mark.parametrize(
    "text",
    [
        "Ärger über Öl",
        "»Ça va?« – “oui”",
        "naïve café…",
        "Привет, мир",
        "日本語の文",
        "ÀÉÎÕÜ",
        "20 °C ± 1 µm",
        "Ã é Â",
        "👍🏽",
    ],
)
def test_texts_of_any_language_are_left_alone(text: str) -> None:
    assert not is_garbled(text)


def test_damaged_texts_are_counted_and_shown() -> None:
    found = inspected("It is 20 Â°C.", "caf\ufffd", "fine", "NaN", "null ", "null and void")
    assert (found.garbled, found.garbled_text, found.filled, found.filled_text) == (2, "Â°C.", 2, "NaN")
    words = " ".join(warning_words(found))
    assert "2 lines whose whole answer is `NaN`" in words and "`Â°C.`" in words
    assert not list(warning_words(inspected("none of them", "fine")))


@pytest.mark.parametrize("text", ["Привет, мир", "Καλημέρα", "日本語", "naïve “café”", "ok 👍", "שלום"])
def test_other_scripts_that_were_read_as_latin_are_found(text: str) -> None:
    assert is_garbled(text.encode().decode("latin-1"))


@pytest.mark.parametrize("text", ["nan", " None\n", "N/A", "#N/A", "<NA>", "undefined"])
def test_a_programs_word_for_nothing_is_known(text: str) -> None:
    assert is_filled(text) and not is_filled(f"{text.strip()} of these")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_records_is_said_to_be_empty(content: bytes) -> None:
    found = inspect(read_data(DataSource(Path("x.jsonl"), content)))
    assert not found.own and list(warning_words(found)) == ["There is nothing in the file."]
