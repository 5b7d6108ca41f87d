"""Faults on a seeded schedule in any environment: to test a trainer or a harness with."""

from longstep_envs.faulty.env import FaultyEnv
from longstep_envs.faulty.kinds import HARMLESS, KINDS
from longstep_envs.faulty.schedule import Injected, Ledger, Planned, Schedule

__all__ = ["HARMLESS", "KINDS", "FaultyEnv", "Injected", "Ledger", "Planned", "Schedule"]
