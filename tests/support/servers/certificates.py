"""A certificate for 127.0.0.1, signed by an authority of the test's own."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


class Certificates:
    """Files in a folder: ``authority``, and ``certificate`` with ``key`` for the server."""

    def __init__(self, folder: Path) -> None:
        self.authority = folder / "authority.pem"
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        signer, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = _name("test authority")
        root = (
            _builder(issuer, issuer, signer.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(signer, hashes.SHA256())
        )
        address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        leaf = (
            _builder(_name("test server"), issuer, own.public_key())
            .add_extension(address, critical=False)
            .sign(signer, hashes.SHA256())
        )
        self.authority.write_bytes(root.public_bytes(PEM))
        self.certificate.write_bytes(leaf.public_bytes(PEM))
        plain = serialization.NoEncryption()
        self.key.write_bytes(own.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, public_key, x509.random_serial_number(), now - timedelta(1), now + timedelta(2)
    )
