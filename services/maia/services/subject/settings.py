"""Settings of the subject server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from maia.services._runtime.settings import ToolServerSettings
from maia.services.subject.backends.networks.options import DirectionsFile, NetworkOptions, Precision
from maia.services.subject.backends.photograph_neurons.options import (
    BOX_THRESHOLD,
    DETECTOR,
    SEGMENTER,
    TEXT_THRESHOLD,
    PhotographOptions,
)


def _list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _names(value: object) -> object:
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class SubjectSettings(ToolServerSettings):
    """The subject server: frozen models under study, and how their units respond to pictures."""

    model_config = SettingsConfigDict(env_prefix="MAIA_SUBJECT_")

    model: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=("scene-neurons", "scenes-cnn"),
        min_length=1,
        description="subjects to load and host, separated by commas: scene-neurons, scenes-cnn, resnet152, clip-RN50, "
        "clip-ViT-B32, dino_vits8, synthetic_neurons, torchvision:NAME, timm:NAME, open_clip:ARCHITECTURE/TAG, "
        "transformers:REPOSITORY or FOLDER, python:MODULE:FACTORY",
    )
    on_demand: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = Field(
        default=(), description="subjects to host besides, loaded when somebody asks for them"
    )
    memory_gb: float = Field(
        default=0,
        ge=0,
        description="most that loaded subjects take; the one unused for longest goes; 0: no bound",
    )
    weights: Path | None = Field(
        default=None, description="file with a state dict (.safetensors, .pt) to load instead of the published weights"
    )
    directions: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = Field(
        default=(),
        description="safetensors files with directions or sparse autoencoders to measure as layers of their own, "
        "each FILE or LAYER=FILE, separated by commas",
    )
    labels: Path | None = Field(
        default=None, description="folder with mono.json, or.json, and.json: the units of synthetic_neurons"
    )
    detector: str = Field(
        default=DETECTOR, description="of synthetic_neurons: a GroundingDINO, by its name on the Hub or its folder"
    )
    segmenter: str = Field(
        default=SEGMENTER, description="of synthetic_neurons: a SAM, by its name on the Hub or its folder"
    )
    box_threshold: float = Field(
        default=BOX_THRESHOLD, ge=0, lt=1, description="of synthetic_neurons: score that a box must exceed"
    )
    text_threshold: float = Field(
        default=TEXT_THRESHOLD, ge=0, lt=1, description="of synthetic_neurons: score that each word must exceed"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="of the forward pass: float32, bfloat16 or float16"
    )
    model_dir: Path | None = Field(default=None, description="folder where weights are looked for, and kept")
    offline: bool = Field(default=False, description="download nothing")
    batch: int = Field(default=16, ge=1, le=1024, description="most pictures in one pass")
    batch_delay_ms: float = Field(
        default=0, ge=0, le=1000, description="how long a picture may wait for others while the model is idle"
    )
    batch_buckets: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_list)] = Field(
        default=(), description="sizes that batches are filled up to, ascending, separated by commas"
    )
    deterministic: bool = Field(
        default=False, description="one picture in a pass, so that an answer is the same to the bit whoever else asks"
    )
    queue: int = Field(default=4096, ge=1, description="most pictures that may wait; more are refused for the moment")
    cache_mb: int = Field(
        default=512,
        ge=0,
        description="megabytes of answers that are kept for pictures seen again, where the model runs",
    )

    @field_validator("batch_buckets")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 1 for size in sizes) or list(sizes) != sorted(set(sizes)):
            raise ValueError("the sizes must be ascending, each at least 1")
        return sizes

    @property
    def network(self) -> NetworkOptions:
        """How a network is loaded."""
        return NetworkOptions(
            device=self.device,
            precision=Precision(self.precision),
            model_dir=self.model_dir,
            offline=self.offline,
            weights=self.weights,
            directions=tuple(map(DirectionsFile.parse, self.directions)),
        )

    @property
    def photographs(self) -> PhotographOptions:
        """Of synthetic_neurons."""
        return PhotographOptions(self.labels, self.detector, self.segmenter, self.box_threshold, self.text_threshold)
