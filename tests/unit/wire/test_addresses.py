import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.wire.addresses import Address
from maia.wire.channels import open_channel
from maia.wire.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("localhost:0", "localhost:0"),
        ("[::1]:7000", "[::1]:7000"),
        ("dns:///localhost:7000", "dns:///localhost:7000"),
        ("unix:/run/maia/subject.sock", "unix:/run/maia/subject.sock"),
        ("unix:///run/maia/subject.sock", "unix:/run/maia/subject.sock"),
    ],
)
def test_local_addresses(text: str, normal: str) -> None:
    address = Address.parse(text)
    assert str(address) == normal
    assert address.local
    assert Address.parse(normal) == address


@pytest.mark.parametrize(
    "text",
    ["", "7000", ":7000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:٣", "::1:7000",
     "unix:x.sock", "unix:", "unix://host/x", "unix:/" + "x" * 107, "unix:/run/a%41.sock", "http://127.0.0.1:80", "dns://8.8.8.8/host:1"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Address.parse(text)
    assert caught.value.reason == "ADDRESS_INVALID"


@pytest.mark.parametrize("port", ["99999", "9" * 5000])
def test_a_port_beyond_the_last_is_told(port: str) -> None:
    with pytest.raises(InvalidRequestError, match="ports end at 65535"):
        Address.parse(f"127.0.0.1:{port}")


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except InvalidRequestError:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.5:7000",
        "0.0.0.0:7000",
        "[::]:7000",
        "gpu-box:7000",
        "dns:///maia-subject:7000",
        "127.0.0.1.evil.org:7000",
    ],
)
def test_plain_text_does_not_leave_the_machine(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        open_channel(text)
    assert caught.value.reason == "ADDRESS_NOT_LOCAL"
    assert text in caught.value.message
