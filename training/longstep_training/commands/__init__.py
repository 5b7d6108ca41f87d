"""The subcommands of `longstep`; each imports what it needs when it runs."""
