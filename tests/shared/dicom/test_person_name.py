import pytest

from shared.dicom.person_name import fold, fold_case, fold_person_name, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "MULLER"),
        ("Straße", "STRASSE"),
        ("Šťastný", "stastny"),
        ("Παπαδόπουλος", "ΠΑΠΑΔΟΠΟΥΛΟΣ"),
        ("ПЁТР", "петр"),
        ("ｶﾞﾝﾀﾞﾑ", "ガンダム"),
        ("ＡＢＣ", "abc"),  # noqa: RUF001 - full-width letters
        ("مُحَمَّد", "محمد"),
        ("é", "e\u0301"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ],
)
def test_case_accents_and_width_do_not_count(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("А", "A"),  # noqa: RUF001 - Cyrillic and Latin
        ("Ο", "O"),  # noqa: RUF001 - Greek and Latin
        ("王", "玉"),
        ("小东", "小东西"),
        ("か", "が"),
        ("は", "ぱ"),
        ("ハ", "は"),
        ("가", "각"),
        ("क", "क़"),
        ("क्त", "कत"),
    ],
)
def test_letters_of_scripts_and_letters_that_only_look_alike_stay_apart(
    one: str, other: str
) -> None:
    assert fold(one) != fold(other)


def test_other_text_keeps_its_accents() -> None:
    assert fold_case(" Tête\0") == "tête"


def test_empty_components_and_groups_at_the_end_of_a_name_are_dropped() -> None:
    assert fold_person_name("Doe^Jane^^^=^=") == "doe^jane"
    assert fold_person_name("Yamada^Tarou=山田^太郎=やまだ^たろう") == (
        "yamada^tarou=山田^太郎=やまだ^たろう"
    )


def test_words_are_those_of_all_groups_and_components() -> None:
    assert words("Yamada^Tarou=山田^太郎=やまだ^たろう") == (
        "yamada",
        "tarou",
        "山田",
        "太郎",
        "やまだ",
        "たろう",
    )
    assert words("O'Neill-Smith, Mary  Mary") == ("o'neill", "smith", "mary")
    assert words(" ^^ = ") == ()
