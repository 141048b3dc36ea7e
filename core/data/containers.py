"""What a data file is (JSON lines, a JSON array, CSV, TSV, Parquet, gzip around any), and the records in it.

The content decides, not the name: a `.json` is often JSON lines, and a pipe has no name. Names of columns and keys mean nothing
here; `core.data.line_forms` reads the records.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.json_faults import json_fault
from core.data.records import FORMAT_NAMES, Format, Parsed, Record, word
from core.data.source import DataSource, unpacked
from core.data.tables import parse_parquet, parse_table
from core.data.wrapped import unwrapped
from core.errors import InputError

PARQUET = b"PAR1"
# What is told apart only to be named.
OTHERS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save it as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with `zstd -d`"),
    (b"BZh", "compressed with bzip2", "unpack it with `bunzip2`"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it with `unxz`"),
    (b"ARROW1", "an Arrow file", "save it as Parquet or as JSON lines"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "save it as Parquet or as JSON lines"),
    (b"SQLite format 3", "an SQLite database", "export a table as CSV"),
    (b"%PDF", "a PDF", None),
    (b"\x80\x04\x95", "a Python pickle", "save it as JSON lines"),
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "fetch the data with `git lfs pull`"),
)
OTHER_ENCODING = "save the file as UTF-8, or bring it there with `bakehouse data convert FILE --encoding cp1252`"
# The longer mark first: that of UTF-16 is the beginning of that of UTF-32.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Where a tar archive says that it is one.
TAR_MARK, TAR_PLACE = b"ustar", 257
# Of a text without a mark, so much is looked at for the zero bytes of UTF-16.
LOOKED_AT_BYTES = 64


def parse(source: DataSource, encoding: str | None = None) -> Parsed:
    """The records of a file of any of the formats. `encoding`: in which its text is, else it is told by its mark, or is UTF-8.

    InputError for what is none of them as a whole; a single record that is faulty is a problem of the result.
    """
    content, compression = unpacked(source)
    _refuse_others(content, source.path)
    if encoding is None:
        _refuse_unmarked(content, source.path)
    if content.startswith(PARQUET):
        return parse_parquet(content, source.path, Parsed("parquet", compression, "binary"))
    content, name = _as_utf8(content, source.path, encoding)
    kind = _format(content, source.path)
    parsed = Parsed(kind, compression, name)
    if kind == "jsonl":
        _json_lines(content, source.path, parsed)
    elif kind in ("csv", "tsv"):
        return parse_table(_text(content, source.path), source.path, parsed)
    else:
        _json_stream(_text(content, source.path), source.path, parsed)
    return parsed


def parse_json_lines(source: DataSource) -> Parsed:
    """The records of a file that must be JSON lines in UTF-8. InputError (`other_format`) when it is something else."""
    content = source.content
    found = None
    if content.startswith(PARQUET):
        found = FORMAT_NAMES["parquet"]
    elif content.startswith(b"\x1f\x8b"):
        found = "compressed with gzip"
    else:
        _refuse_others(content, source.path)
        _refuse_unmarked(content, source.path)
        if not content.startswith(UTF16_MARKS):
            content = content.removeprefix(codecs.BOM_UTF8)
            kind = _format(content, source.path)
            found = None if kind == "jsonl" else FORMAT_NAMES[kind]
    if found is not None:
        raise InputError(f"is {found}, not JSON lines", code="other_format", file=source.path, line=1)
    parsed = Parsed("jsonl")
    _json_lines(content, source.path, parsed)
    if parsed.format != "jsonl":  # one line that holds the records of the file
        raise InputError(
            f"is {FORMAT_NAMES[parsed.format]}, not JSON lines", code="other_format", file=source.path, line=1
        )
    return parsed


def _refuse_others(content: bytes, path: Path) -> None:
    for mark, name, remedy in OTHERS:
        if content.startswith(mark):
            raise InputError(f"is {name}", code="other_format", file=path, line=1, remedy=remedy)
    if content[TAR_PLACE:].startswith(TAR_MARK):
        remedy = "unpack it with `tar -x`, and name the file in it"
        raise InputError("is a tar archive", code="other_format", file=path, line=1, remedy=remedy)


def _refuse_unmarked(content: bytes, path: Path) -> None:
    """Refuse a text in UTF-16 that does not say so: every other byte of its beginning is zero."""
    head = content[:LOOKED_AT_BYTES]
    if head.startswith(tuple(mark for mark, _, _ in MARKS)) or len(head) < 4:
        return
    for name, zero, other in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if not any(head[zero::2]) and all(head[other::2]):
            raise InputError(
                "is not UTF-8: it looks like UTF-16 without its mark",
                code="not_utf8",
                file=path,
                line=1,
                remedy=f"name its encoding (`--encoding {name}`), or save it as UTF-8",
            )


def _as_utf8(content: bytes, path: Path, encoding: str | None) -> tuple[bytes, str]:
    """The text's bytes in UTF-8, and the name of the encoding in which they were."""
    marked = next(((codec, name) for mark, codec, name in MARKS if content.startswith(mark)), None)
    if encoding is None and (marked is None or marked[1] == "UTF-8"):
        return content.removeprefix(codecs.BOM_UTF8), "UTF-8"
    codec, name = (encoding, encoding) if encoding is not None else marked or ("utf-8", "UTF-8")
    try:
        text = content.decode(codec)
    except LookupError:
        raise InputError(f"no encoding `{word(codec)}`", code="bad_encoding", remedy="cp1252, say, or utf-16") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"is not {name}: byte {error.start + 1}", code="not_utf8", file=path, line=line) from None
    return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass"), name


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        byte = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"is not UTF-8: byte {byte} of the line",
            code="not_utf8",
            file=path,
            line=before.count(b"\n") + 1,
            remedy="name its encoding (`--encoding cp1252`), or save it as UTF-8",
        ) from None


def _format(content: bytes, path: Path) -> Format:
    """What the text is, by its first character, its first line, and last its name."""
    found = re.search(rb"[^ \t\r\n\x0b\x0c][^\n]*", content)
    first = found[0].strip() if found else b""
    head = first[:1]
    if head == b"{" or head == b"[":
        several = len(content.strip()) > len(first)
        if head == b"[" and not several:
            return "json_array"
        if _is_json(first):
            return "jsonl"
        if head == b"{" and first.endswith(b",") and _is_json(first[:-1]):
            return "json_objects"  # the lines of an array, without its brackets
        if head == b"[":
            return "json_array"
        # An object that does not end with its line: written over several, or a torn first line.
        return "json_objects" if _begins_with_json(content) else "jsonl"
    endings = {suffix.lower() for suffix in path.suffixes}
    if endings & {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    if ".tsv" in endings or (b"\t" in first and ".csv" not in endings):
        return "tsv"
    if ".csv" in endings or _is_head(first):
        return "csv"
    return "jsonl"


def _is_head(line: bytes) -> bool:
    """True of a line that reads like the head of a table: several short words between commas or semicolons."""
    text = line.decode(errors="replace")
    cells = re.split(r"[,;|]", text)
    return len(cells) > 1 and all(re.fullmatch(r'\s*"?[^\W\d][\w .-]{0,60}"?\s*', cell) for cell in cells)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _begins_with_json(content: bytes) -> bool:
    """True of an object that ends behind its line, or with another one behind it on the line."""
    text = content.decode(errors="replace").lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end] or text[end:].lstrip(" \t\r\n,")[:1] == "{"


def _json_lines(content: bytes, path: Path, parsed: Parsed) -> None:
    # Only \n ends a line: a JSON string may hold U+2028 and the like, at which str.splitlines would cut.
    for number, line in enumerate(content.split(b"\n"), start=1):
        line = line.removeprefix(codecs.BOM_UTF8)  # files that were put together bring their marks along
        if not line.strip():
            parsed.blank += bool(line)
            continue
        empty = Record(None, number, number, path)
        try:
            parsed.records.append(Record(_loads(line, empty), number, number, path))
        except InputError as error:
            parsed.add_problem(number, error)
    _unwrap(parsed)


def _loads(content: bytes, at: Record) -> Any:
    """The document of a line. InputError when it is none, or says a key twice."""
    doubled: list[str] = []
    text = ""
    try:
        text = content.decode()
        document = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, doubled))
    except UnicodeDecodeError as error:
        utf16 = content.startswith(UTF16_MARKS)
        remedy = "it looks like UTF-16: save it as UTF-8" if utf16 else OTHER_ENCODING
        at.refuse(f"is not UTF-8: byte {error.start + 1} of the line", code="not_utf8", remedy=remedy)
    except json.JSONDecodeError as error:
        message, advice = json_fault(text, error)
        at.refuse(message, code="not_json", remedy=advice)
    except (RecursionError, ValueError) as error:
        at.refuse(f"is not JSON that can be read: {error}", code="not_json")
    if doubled:
        at.refuse("is there twice", key=word(doubled[0]), code="doubled_key")
    return document


def _object(pairs: list[tuple[str, Any]], doubled: list[str]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        doubled.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return made


def _json_stream(text: str, path: Path, parsed: Parsed) -> None:
    """The entries of an array, or objects one behind another. What follows a fault in the syntax cannot be told apart."""
    doubled: list[str] = []
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: _object(pairs, doubled))
    array = parsed.format == "json_array"
    line, counted = 1, 0
    for number, at in enumerate(_places(text, array), start=1):
        line, counted = line + text.count("\n", counted, at.start), at.start
        record = Record(None, number, line, path, "entry")
        if at.fault:
            parsed.add_problem(number, record.error(f"is not JSON: {at.fault}", code="not_json"))
            return
        doubled.clear()
        try:
            document, at.end = decoder.raw_decode(text, at.start)
        except json.JSONDecodeError as error:
            message, remedy = json_fault(text, error, by_line=False)
            rest = "what follows it is not read"
            remedy = f"{remedy}; {rest}" if remedy else rest
            parsed.add_problem(number, record.error(message, code="not_json", remedy=remedy))
            return
        except (RecursionError, ValueError) as error:
            message = f"is not JSON that can be read: {error}"
            parsed.add_problem(number, record.error(message, code="not_json", remedy="what follows it is not read"))
            return
        if doubled:
            parsed.add_problem(number, record.error("is there twice", key=word(doubled[0]), code="doubled_key"))
        else:
            parsed.records.append(Record(document, number, line, path, "entry"))
    _unwrap(parsed)


@dataclass
class _Place:
    """Where an entry begins; who reads it says where it ends. `fault`: no entry can begin there."""

    start: int
    end: int = 0
    fault: str = ""


def _places(text: str, array: bool) -> Iterator[_Place]:
    blank = re.compile(r"[ \t\n\r]*")

    def skip(place: int) -> int:
        match = blank.match(text, place)
        return match.end() if match else place

    at = skip(0)
    if array:
        at = skip(at + 1)
        if text[at : at + 1] == "]":
            return
    while at < len(text):
        place = _Place(at)
        yield place
        at = skip(place.end)
        sign = text[at : at + 1]
        if not array:
            at = skip(at + 1) if sign == "," else at
            continue
        if sign == "]":
            if skip(at + 1) < len(text):
                yield _Place(skip(at + 1), fault="something follows the array")
            return
        if sign != ",":
            yield _Place(at, fault="the array does not end" if not sign else "a comma is missing in front of it")
            return
        at = skip(at + 1)
        if text[at : at + 1] == "]":  # a comma behind the last entry
            if skip(at + 1) < len(text):
                yield _Place(skip(at + 1), fault="something follows the array")
            return
    if array:
        yield _Place(at, fault="the array does not end")


def _unwrap(parsed: Parsed) -> None:
    """One object that holds the records of the file: its entries are the records."""
    if len(parsed.records) != 1 or parsed.bad or not isinstance(parsed.records[0].document, dict):
        return
    whole = parsed.records[0]
    if (found := unwrapped(whole.document)) is None:
        return
    parsed.ignored.add(found.beside)
    parsed.format = "json_table" if found.table else "json_array"
    parsed.records = [
        Record(entry, number, whole.line, whole.file, "entry") for number, entry in enumerate(found.entries, start=1)
    ]
