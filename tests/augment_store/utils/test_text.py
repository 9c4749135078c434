import re

from augment_store.utils.text import join_first, pluralize, shipped_or_given, single_line, utc_now, versions


def test_names_in_a_list():
    assert join_first(["a", "b", "c"]) == "a, b, c"
    assert join_first(["a", "b", "c", "d"]) == "a, b, c …"
    assert join_first([]) == ""


def test_numbers_and_their_nouns():
    assert [pluralize(n, "scene") for n in (0, 1, 2, 1234)] == [
        "0 scenes",
        "1 scene",
        "2 scenes",
        "1,234 scenes",
    ]


def test_one_line():
    assert single_line(ValueError("a\n   b\tc ")) == "a b c"


def test_the_time_is_in_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", utc_now())


def test_versions_of_what_is_installed():
    found = versions(["numpy", "no-such-package"])
    assert set(found) == {"python", "numpy"}


def test_a_yaml_by_path_or_by_the_name_it_ships_under(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "plain.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert (
        shipped_or_given("plain", shipped)
        == shipped_or_given("plain.yaml", shipped)
        == shipped / "plain.yaml"
    )
    assert shipped_or_given("other/plain", shipped) is None
    assert shipped_or_given("nothing", shipped) is None
    (tmp_path / "plain.yaml").touch()
    assert str(shipped_or_given("plain.yaml", shipped)) == "plain.yaml"  # the user's own goes first
