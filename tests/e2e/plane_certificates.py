"""Certificates for a control plane of the laboratory: an authority and what it issues, made by openssl, good for years before and after."""

import subprocess
from pathlib import Path

DAYS = 3650
DATED_BACK = ("faketime", "-f", "-500d")
"""Certificates are valid already for a process whose clock steps back."""
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


TAKEN = "faketime: sem_open: File exists"
"""faketime names what it shares by its process id; what one left behind that was killed is in the way of the next one with that id."""
ATTEMPTS = 20


def openssl(*arguments, text=""):
    for _ in range(ATTEMPTS):
        done = subprocess.run([*DATED_BACK, "openssl", *arguments], input=text, capture_output=True, text=True, check=False)
        if TAKEN not in done.stderr:
            break
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Authority:
    """A certificate authority whose files are in a folder."""

    def __init__(self, folder: Path, name="authority"):
        self.folder = folder
        self.certificate, self.key = folder / f"{name}.crt", folder / f"{name}.key"
        uses = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash")
        extensions = [part for use in uses for part in ("-addext", use)]
        to = ("-keyout", str(self.key), "-out", str(self.certificate), "-subj", f"/CN=pointsman e2e {name}", "-days", str(DAYS))
        openssl("req", "-x509", *KEY, *to, *extensions)

    def issue(self, name, subject, addresses=(), names=()):
        """Return (certificate, key) paths of a certificate for a server (with addresses) or a client (`/O=group/CN=user`)."""
        certificate, key, request, extensions = (self.folder / f"{name}.{suffix}" for suffix in ("crt", "key", "csr", "ext"))
        alternatives = [*(f"IP:{address}" for address in addresses), *(f"DNS:{each}" for each in names)]
        lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth",
                 "authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"]
        if alternatives:
            lines.append(f"subjectAltName={','.join(alternatives)}")
        extensions.write_text("\n".join(lines))
        openssl("req", "-new", *KEY, "-keyout", str(key), "-out", str(request), "-subj", subject)
        by = ("-CA", str(self.certificate), "-CAkey", str(self.key), "-CAcreateserial", "-days", str(DAYS))
        openssl("x509", "-req", "-in", str(request), "-out", str(certificate), *by, "-extfile", str(extensions))
        return certificate, key
