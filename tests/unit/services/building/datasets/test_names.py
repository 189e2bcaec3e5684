"""What a name tells, and how it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.services.building.datasets.names import PassedOver, extension, is_hidden, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a.jpg", b".jpg"),
        (b"A.JPEG", b".jpeg"),
        (b"a.tar.gz", b".gz"),
        (b"a", b""),
        (b".jpg", b""),
        (b"1.2.840.113", b""),
        (b"a.", b""),
        (b"a.waytoolongforone", b""),
    ],
)
def test_extension(name: bytes, expected: bytes) -> None:
    assert extension(name) == expected


def test_hidden_is_a_file_or_a_folder_on_the_way() -> None:
    assert is_hidden(b".a/b.png")
    assert is_hidden(b"a/.b/c.png")
    assert is_hidden(b"__MACOSX/._c.png")
    assert not is_hidden(b"a.b/c.d.png")


@given(st.binary())
def test_whatever_is_shown_is_printable(name: bytes) -> None:
    assert shown(name).isprintable()


@given(st.text().filter(str.isprintable))
def test_printable_names_are_shown_as_they_are(name: str) -> None:
    assert shown(name.encode()) == name


def test_escapes_and_foreign_bytes_are_spelled_out() -> None:
    assert shown(b"a\x1b[31m\n\xff\xe2\x80\xae.png") == r"a\x1b[31m\n\xff\u202e.png"


def test_what_was_passed_over_is_told_by_kind_most_frequent_first() -> None:
    passed_over = PassedOver()
    for name in (b"a.txt", b"b.TXT", b"c", b"d.json"):
        passed_over.add(name)
    passed_over.add_kind("hidden")
    assert passed_over.total == 5
    assert passed_over.notes() == [
        "5 files that are no pictures were passed over: 2 .txt, 1 .json, 1 hidden, 1 without an extension"
    ]


def test_rare_kinds_are_told_as_one_number() -> None:
    passed_over = PassedOver()
    for number in range(9):
        passed_over.add(b"a.x%d" % number)
    assert str(passed_over).endswith("1 .x5, 3 others")
    assert PassedOver().notes() == []
