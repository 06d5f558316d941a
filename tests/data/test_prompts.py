"""Openings to choose by and openings to report on are different ones, and leave something to continue."""

from steering_lab.data.prompts import OPENINGS_TEST, OPENINGS_VALIDATION


def test_no_opening_is_both_chosen_by_and_reported_on() -> None:
    together = [*OPENINGS_VALIDATION, *OPENINGS_TEST]
    assert len({opening.casefold() for opening in together}) == len(together) == 32


def test_openings_are_unfinished_and_end_where_a_word_may_follow() -> None:
    for opening in (*OPENINGS_VALIDATION, *OPENINGS_TEST):
        assert opening == opening.strip()
        assert opening[-1].isalpha()
