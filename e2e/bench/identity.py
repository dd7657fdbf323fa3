"""A throwaway CA and a certificate for localhost, which everything in a run serves with and trusts.

ECDSA on P-256 everywhere, so that no proxy does more arithmetic than another.
"""

import subprocess
from pathlib import Path

from child import Failed

DAYS = "2"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
LEAF_EXTENSIONS = """\
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
"""


class Identity:
    """Where the PEM files are."""

    def __init__(self, directory):
        directory = Path(directory)
        self.ca, self.cert, self.key = (directory / name for name in ("ca.pem", "leaf.pem", "leaf.key"))
        ca_key, request, extensions = (directory / name for name in ("ca.key", "leaf.csr", "leaf.ext"))
        extensions.write_text(LEAF_EXTENSIONS)
        openssl("req", "-x509", *CURVE, "-keyout", ca_key, "-out", self.ca, "-days", DAYS, "-subj", "/CN=bench CA")
        openssl("req", *CURVE, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial",
            "-out", self.cert, "-days", DAYS, "-extfile", extensions,
        )  # fmt: skip


def openssl(*arguments):
    command = ["openssl", *(str(argument) for argument in arguments)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"cannot make a certificate: {error}") from error
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}\n{result.stderr}")
