"""What a run would take on other machines: memory, time, and what limits it. Needs no torch."""
