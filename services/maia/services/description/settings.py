"""Settings of the description server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from maia.services._runtime.heeding import check_heeded
from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.settings import ToolServerSettings
from maia.services.description.backends.transformers.options import Dtype, TransformersOptions
from maia.services.description.backends.vendors.options import LimitField, VendorOptions

_OF_OPENAI: Final = frozenset({"temperature", "limit_field"})
_HEEDED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "scenes": frozenset(),
        "transformers": frozenset(TransformersOptions.__dataclass_fields__),
        "openai": frozenset(VendorOptions.__dataclass_fields__),
        "anthropic": frozenset(VendorOptions.__dataclass_fields__) - _OF_OPENAI,
    }
)
_LOCAL_TOKENS: Final = TransformersOptions.__dataclass_fields__["max_tokens"].default
_VENDOR_TOKENS: Final = VendorOptions.__dataclass_fields__["max_tokens"].default


class DescriptionSettings(ToolServerSettings):
    """The description server: words for pictures, or for the highlighted parts of pictures."""

    model_config = SettingsConfigDict(env_prefix="MAIA_DESCRIPTION_")

    backend: Literal["scenes", "transformers", "openai", "anthropic"] = Field(
        default="scenes",
        description="what does the work: scenes (embedded), transformers (a model on this machine), openai (a vendor, "
        "or with --base-url vLLM, Ollama, LM Studio, ...) or anthropic (a vendor)",
    )
    model: str = Field(
        default="", description="for transformers a folder or a name on the Hugging Face hub; else the vendor's name"
    )
    revision: str = Field(default="", description="branch, tag or commit of a name on the hub")
    model_dir: Path | None = Field(default=None, description="folder with models by name, OWNER/NAME")
    offline: bool = Field(default=False, description="download nothing")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Dtype = Field(default="auto", description="auto, float32, bfloat16 or float16")
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="longest answer, a model's own thinking included "
        f"(default: {_LOCAL_TOKENS} for transformers, {_VENDOR_TOKENS} for a vendor)",
    )
    base_url: str = Field(
        default="",
        description="of another server that speaks the vendor's protocol; its key, if it wants one, is "
        "MAIA_COMPATIBLE_API_KEY, a vendor's is OPENAI_API_KEY or ANTHROPIC_API_KEY in the environment",
    )
    parallel: int = Field(default=4, ge=1, le=64, description="requests to a vendor at once")
    attempt_s: float = Field(default=60, gt=0, le=3600, description="seconds that a vendor may stay silent")
    patience_s: float = Field(
        default=180, gt=0, le=86_400, description="seconds for a vendor's answer with all attempts, three at most"
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="of a model of openai's protocol (default: 0 with --base-url, else the vendor's own choice)",
    )
    limit_field: LimitField | None = Field(
        default=None,
        description="what a server of openai's protocol calls --max-tokens: max_tokens or max_completion_tokens "
        "(default: the first with --base-url, else the second)",
    )
    batch: int = Field(default=8, ge=1, le=256, description="most pictures described in one go")
    batch_delay_ms: float = Field(
        default=0, ge=0, le=10_000, description="how long a picture may wait for others while the model is idle"
    )
    deterministic: bool = Field(
        default=False, description="one picture at a time, so that its words are the same whoever else asks"
    )
    queue: int = Field(default=1024, ge=1, description="most pictures that may wait; more are refused for the moment")

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://, and most end in /v1")
        return url

    @property
    def transformers(self) -> TransformersOptions:
        """What the backend transformers is told."""
        return TransformersOptions(**self._told(TransformersOptions))

    @property
    def vendor(self) -> VendorOptions:
        """What the backends openai and anthropic are told, but for the key."""
        return VendorOptions(**self._told(VendorOptions))

    def limits(self, usual: BatchLimits) -> BatchLimits:
        """Return how batches are made, by the server's usual limits and what was chosen."""
        most = 1 if self.deterministic else self.batch
        return replace(usual, most=most, delay_s=self.batch_delay_ms / 1000, waiting=self.queue)

    def check_backend(self) -> None:
        """Refuse settings that the backend would not heed.

        Raises:
            InvalidRequestError: SETTING_INVALID.
        """
        check_heeded(self, self.backend, _HEEDED)

    def _told(self, options: type[TransformersOptions | VendorOptions]) -> dict[str, Any]:
        """Those of the settings that options are made of; what stands at None is left to the options."""
        told = {name: getattr(self, name) for name in options.__dataclass_fields__}
        return {name: value for name, value in told.items() if value is not None}
