"""The runtime: engines, rendering, actions, agents and rollouts."""
