import pytest

from longstep_agents.constraint import TokenTrie


def test_only_the_given_sequences_lead_to_a_leaf() -> None:
    trie = TokenTrie([(1, 2, 9), (1, 3, 9), (4, 9)])
    assert trie.root == {1: {2: {9: {}}, 3: {9: {}}}, 4: {9: {}}}


def test_admitted_ids_are_in_the_order_in_which_sequences_came() -> None:
    trie = TokenTrie([(7, 9), (1, 9), (4, 2, 9)])
    assert trie.admitted_along((4, 2, 9)) == ((7, 1, 4), (2,), (9,))


def test_a_sequence_outside_the_trie_has_no_admitted_ids() -> None:
    with pytest.raises(KeyError):
        TokenTrie([(1, 9)]).admitted_along((2, 9))


@pytest.mark.parametrize("sequences", [[], [()]])
def test_a_trie_without_any_choice_is_refused(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="at least one non-empty sequence"):
        TokenTrie(sequences)
