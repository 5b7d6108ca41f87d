"""The command line as a module, which torchrun starts: `torchrun -m longstep_training train …`."""

from longstep_training.cli import main

if __name__ == "__main__":
    main()
