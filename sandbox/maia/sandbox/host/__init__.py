"""The trusted side: opens sessions, feeds them blocks and tool results, holds them to their limits."""
