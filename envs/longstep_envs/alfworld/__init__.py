"""ALFWorld: household tasks in text, with an exact fast engine and adapters to the official one."""

from longstep_envs.alfworld.env import ALFWorldEnv, explore
from longstep_envs.alfworld.explorer import Explorer
from longstep_envs.alfworld.planner import solve

__all__ = ["ALFWorldEnv", "Explorer", "explore", "solve"]
