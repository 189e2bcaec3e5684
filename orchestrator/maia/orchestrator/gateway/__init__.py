"""What executes a session's tool calls: numbered, journaled, bounded, retried."""

from maia.orchestrator.gateway.gateway import Gateway, GatewayLimits, Sink

__all__ = ["Gateway", "GatewayLimits", "Sink"]
