"""What every tool server can be told, beside what all servers can."""

from __future__ import annotations

import os

from pydantic import Field

from maia.wire.settings import ServerSettings


class ToolServerSettings(ServerSettings):
    """Settings of a tool server. A sandbox host has no traces: it opens no connection itself."""

    otlp_endpoint: str = Field(
        default="",
        description="http://HOST:4318 where traces go, by OTLP (or OTEL_EXPORTER_OTLP_ENDPOINT); nowhere if not given",
    )

    @property
    def traces(self) -> str:
        """Where traces go; "" for nowhere."""
        return self.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
