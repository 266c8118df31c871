import pytest

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts import registry


def test_names_are_trimmed_and_each_is_taken_once():
    assert registry.parse(" conv, slice ,conv,") == ("conv", "slice")


def test_all_leaves_out_the_unsafe():
    assert set(registry.NAMES) - set(registry.parse("all")) == set(registry.UNSAFE)


def test_all_may_stand_among_others_and_a_wrong_name_beside_it_gets_the_nearest_one():
    assert registry.parse("inplace,all") == ("inplace", *registry.parse("all"))
    assert registry.parse("all,slice") == registry.parse("all")
    with pytest.raises(
        UnavailableError, match="no shift implementation 'cnv'; did you mean 'conv'"
    ):
        registry.parse("all,cnv")


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_list_without_a_name_is_refused(text):
    with pytest.raises(UnavailableError) as refused:
        registry.parse(text)
    assert str(refused.value) == (
        f"'{text}' does not name a shift implementation; known: {', '.join(('all', *registry.NAMES))}"
    )


def test_a_users_own_shift_is_passed_on_by_its_path():
    assert registry.parse("roll, mine.py:my_shift,pkg.module:go") == (
        "roll",
        "mine.py:my_shift",
        "pkg.module:go",
    )
