"""Training: rewards, credit, losses, the loop, and the command line."""
