"""Endpoints and tool servers that misbehave on purpose: to test what asks them."""

from longstep_agents.faulty.endpoint import KINDS, FaultyEndpoint

__all__ = ["KINDS", "FaultyEndpoint"]
