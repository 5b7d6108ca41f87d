import asyncio

import pytest

from longstep_envs import EnvPool, Slot
from longstep_envs.accounts import Accounts, AccountsError


def test_books_that_balance_are_told_in_a_line() -> None:
    accounts = Accounts()
    for outcome, tries in (("played", 1), ("env_error", 3), ("played", 2)):
        with accounts.episode() as account:
            account.close(outcome, tries)
    accounts.check()
    assert str(accounts) == (
        "episodes: 3 dispatched, 3 reported (1 env_error, 2 played); 3 tries again"
    )


def test_an_episode_that_is_lost_or_reported_twice_is_an_error() -> None:
    accounts = Accounts()
    with accounts.episode():
        pass
    with pytest.raises(AccountsError, match="1 dispatched, 0 reported"):
        accounts.check()
    with accounts.episode() as account:
        account.close("played", 1)
        with pytest.raises(AccountsError, match="twice"):
            account.close("played", 1)


def test_a_pool_keeps_books_over_its_runs_and_of_what_is_given_up() -> None:
    async def play(slot: Slot, number: int) -> None:
        await slot.reset(None, 0)
        if number == 1:
            raise ValueError("the agent's own")
        if number == 9:
            await asyncio.sleep(60)

    async def scenario(pool: EnvPool) -> None:
        await pool.run(range(3), play, concurrency=2)
        with pool.open():
            given_up = asyncio.create_task(pool.play(9, play))
            await asyncio.sleep(0.01)
            await pool.play(2, play)
            assert pool.accounts.running == 1
            given_up.cancel()
            await asyncio.wait([given_up])

    both = Accounts()
    with EnvPool("longstep/Treasure-v0") as pool:
        asyncio.run(scenario(pool))
        both.add(pool.accounts)
        both.add(pool.accounts)
    assert str(both) == (
        "episodes: 10 dispatched, 8 reported (2 agent_error, 6 played), 2 given up; 0 tries again"
    )
