"""A lab's own authority, as `maia certs` makes it: what is made, kept, renewed and never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.wire.lab import days_ago, made

from maia.wire.certificates import ORCHESTRATOR, SERVER_NAMES, Made, make_certificates
from maia.wire.errors import InvalidRequestError, PreconditionError


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def by_name(found: list[Made]) -> dict[str, Made]:
    return {one.name: one for one in found}


def test_an_authority_and_a_pair_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    found = by_name(make_certificates(folder, hosts={"subject": ["gpu1.lab", "10.0.0.5"]}, clients=["alice"]))
    assert list(found) == ["ca", *SERVER_NAMES, ORCHESTRATOR, "alice"]
    assert all(one.new for one in found.values())
    ca = read(folder / "ca.pem")
    for name in (*SERVER_NAMES, ORCHESTRATOR, "alice"):
        read(folder / f"{name}.pem").verify_directly_issued_by(ca)
    keys = {file.name for file in folder.iterdir() if stat.S_IMODE(file.stat().st_mode) == 0o600}
    assert keys == {f"{name}-key.pem" for name in found}
    assert found["subject"].hosts == ("subject", "gpu1.lab", "10.0.0.5", "localhost", "127.0.0.1", "::1")
    usages = read(folder / f"{ORCHESTRATOR}.pem").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_again_it_keeps_what_is_good_and_renews_what_expires_soon(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    with days_ago(70):
        make_certificates(folder, hosts={"subject": ["gpu1.lab"]}, days=90)
    (folder / "editing.pem").unlink()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    kept = by_name(make_certificates(folder, hosts={}, renew_within_days=10))
    assert [name for name, one in kept.items() if one.new] == ["editing"]
    assert (folder / "subject.pem").read_bytes() == before["subject.pem"]
    renewed = by_name(make_certificates(folder, hosts={}, renew_within_days=30))
    assert not renewed["ca"].new
    assert not renewed["editing"].new
    assert renewed["subject"].new
    assert "gpu1.lab" in renewed["subject"].hosts  # as it was
    assert (folder / "ca-key.pem").read_bytes() == before["ca-key.pem"]
    assert (folder / "ca.pem").read_bytes() == before["ca.pem"]


def test_other_hosts_take_another_certificate(tmp_path: Path) -> None:
    folder = made(tmp_path / "certs")
    found = by_name(make_certificates(folder, hosts={"sandbox": ["box.lab"]}))
    assert [name for name, one in found.items() if one.new] == ["sandbox"]
    assert "box.lab" in found["sandbox"].hosts


def test_nothing_outlives_its_authority(tmp_path: Path) -> None:
    found = make_certificates(tmp_path / "certs", hosts={}, days=90, ca_days=5)
    assert {one.until for one in found} == {found[0].until}


@pytest.mark.parametrize(("gone", "there"), [("ca.pem", "ca-key.pem"), ("ca-key.pem", "ca.pem")])
def test_half_an_authority_is_no_reason_to_make_another(tmp_path: Path, gone: str, there: str) -> None:
    folder = made(tmp_path / "certs")
    (folder / gone).unlink()
    with pytest.raises(PreconditionError, match=rf"{there} is there and .*{gone} is not"):
        make_certificates(folder, hosts={})
    assert not (folder / gone).exists()


def test_an_authority_that_has_expired_signs_nothing(tmp_path: Path) -> None:
    with days_ago(10):
        make_certificates(tmp_path, hosts={}, ca_days=5)
    with pytest.raises(PreconditionError, match=r"expired on 20\d\d-"):
        make_certificates(tmp_path, hosts={})


def test_a_strangers_certificate_is_not_replaced(tmp_path: Path) -> None:
    folder, other = made(tmp_path / "certs"), made(tmp_path / "other")
    for name in ("subject.pem", "subject-key.pem"):
        (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(PreconditionError, match="another authority"):
        make_certificates(folder, hosts={})
    assert (folder / "subject.pem").read_bytes() == (other / "subject.pem").read_bytes()


@pytest.mark.parametrize(
    ("hosts", "clients", "said"),
    [
        ({"subjects": ["a"]}, [], "no server 'subjects'; valid: subject"),
        ({"subject": ["gpu1.lab:7411"]}, [], "without a port"),
        ({}, ["subject"], "cannot be called 'subject'"),
        ({}, ["ca"], "cannot be called 'ca'"),
        ({}, ["../x"], "cannot be called"),
        ({}, ["orchestrator-key"], "cannot be called"),
    ],
)
def test_names_that_cannot_be_are_told_before_anything_is_written(
    tmp_path: Path, hosts: dict[str, list[str]], clients: list[str], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        make_certificates(tmp_path / "certs", hosts=hosts, clients=clients)
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("host", ["orchestrator", "Orchestrator.", "alice", "bob"])
def test_no_server_is_called_as_a_client_is_since_its_certificate_could_then_call(tmp_path: Path, host: str) -> None:
    make_certificates(tmp_path, hosts={}, clients=["alice"])
    with pytest.raises(InvalidRequestError, match="a client is called so"):
        make_certificates(tmp_path, hosts={"sandbox": [host]}, clients=["bob"])
    assert make_certificates(tmp_path, hosts={"sandbox": ["ca", "sandbox", "orchestrator.lab"]})


@pytest.mark.parametrize("host", [f"{'a' * 60}!", "a" * 64, ".".join(["a" * 63] * 4), "a..b", "-a", "a.-b", ""])
def test_what_is_no_host_is_told_at_once(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidRequestError, match="neither a host's name nor an IP address"):
        make_certificates(tmp_path, hosts={"subject": [host]})
