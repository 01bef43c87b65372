"""Netrc files as Python reads them. In as in python_dotenv.py; out: each host's login and password."""
import base64, json, netrc, os, sys


def read(document):
    with os.fdopen(os.memfd_create("netrc"), "wb") as out:
        out.write(base64.b64decode(document))
        out.flush()
        try:
            hosts = netrc.netrc(f"/proc/self/fd/{out.fileno()}").hosts
        except Exception:
            return None
    return {host: f"{login}:{password}" for host, (login, _, password) in hosts.items()}


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout)
