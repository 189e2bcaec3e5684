"""Settings that the servers of generation and editing share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from pydantic import Field

from maia.services._runtime.diffusion.options import DiffusionOptions, Dtype, Offload, Quantisation
from maia.services._runtime.folders import cache_folder
from maia.services._runtime.heeding import check_heeded
from maia.services._runtime.images_api import ApiOptions
from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.results import ResultStore
from maia.services._runtime.settings import ToolServerSettings

_RESULTS_MB: Final = 2048
_HEEDED: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "scenes": frozenset(),
        "diffusers": frozenset(DiffusionOptions.__dataclass_fields__),
        "openai": frozenset(ApiOptions.__dataclass_fields__),
    }
)


def default_results() -> Path:
    """Return the folder of kept results when none is named."""
    return cache_folder("results")


class PictureSettings(ToolServerSettings):
    """A server that makes pictures."""

    backend: Literal["scenes", "diffusers", "openai"] = Field(
        default="scenes",
        description="what does the work: scenes (embedded), diffusers (a model on this machine), openai (a vendor)",
    )
    model: str = Field(default="", description="for diffusers a folder or a name on the Hugging Face hub; else a name")
    revision: str = Field(default="", description="branch, tag or commit of a name on the hub")
    variant: str = Field(default="", description="of the weight files, for example fp16")
    model_dir: Path | None = Field(default=None, description="folder with models by name, OWNER/NAME")
    offline: bool = Field(default=False, description="download nothing")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Dtype = Field(default="auto", description="auto, float32, bfloat16 or float16")
    steps: int | None = Field(default=None, ge=1, le=1000, description="steps of a picture, instead of the model's")
    guidance: float | None = Field(
        default=None, ge=0, le=100, allow_inf_nan=False, description="how strictly prompts are followed"
    )
    width: int | None = Field(default=None, ge=16, le=4096, description="of pictures in pixels; see height")
    height: int | None = Field(
        default=None, ge=16, le=4096, description="of pictures in pixels; an edited one keeps its shape, at this area"
    )
    offload: Offload = Field(
        default="none", description="what waits in main memory: none, model (slower), sequential (slowest)"
    )
    quantisation: Quantisation = Field(
        default="none", description="none, bitsandbytes-8bit, bitsandbytes-4bit, torchao-int8 or torchao-fp8"
    )
    gguf: Path | None = Field(default=None, description="a .gguf file of the pipeline's transformer")
    attention_slicing: bool = Field(default=False, description="calculate attention in slices: slower, less memory")
    base_url: str = Field(default="", description="of a server that speaks OpenAI's protocol, instead of OpenAI")
    parallel: int = Field(default=4, ge=1, le=64, description="requests to a vendor at once")
    batch: int = Field(default=8, ge=1, le=256, description="most pictures made in one go")
    batch_delay_ms: float = Field(
        default=0, ge=0, le=10_000, description="how long an order may wait for others while the model is idle"
    )
    deterministic: bool = Field(
        default=False, description="one picture at a time, so that it is the same to the bit whoever else asks"
    )
    queue: int = Field(default=1024, ge=1, description="most pictures that may wait; more are refused for the moment")
    results: Path = Field(
        default_factory=default_results, description="folder of results to be given again (default: in ~/.cache/maia)"
    )
    results_mb: int | None = Field(
        default=None,
        ge=0,
        description=f"megabytes of results that are kept, 0 for none (default: {_RESULTS_MB}, for scenes 0)",
    )

    @property
    def diffusion(self) -> DiffusionOptions:
        """What the backend diffusers is told."""
        names = DiffusionOptions.__dataclass_fields__
        return DiffusionOptions(**{name: getattr(self, name) for name in names})

    @property
    def api(self) -> ApiOptions:
        """What the backend openai is told, but for the key."""
        return ApiOptions(self.model, self.base_url, self.width, self.height, self.parallel)

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

    def open_results(self) -> ResultStore:
        """Return the store of results; its folder is made when the first is kept."""
        default = 0 if self.backend == "scenes" else _RESULTS_MB
        return ResultStore(self.results, (default if self.results_mb is None else self.results_mb) * 1_000_000)
