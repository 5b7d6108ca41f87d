"""The trainer: rewards, credit, entropy, losses, batches, the loop and the command line."""
