"""Env files as python-dotenv reads them. In: a JSON list of files in Base64; out: a list of what they say."""
import base64, io, json, os, sys
from dotenv import dotenv_values

# An expansion that happens must show.
os.environ.clear()
os.environ.update({"X": "expanded", "HOME": "/expanded", "USER": "expanded"})


def read(document):
    try:
        text = base64.b64decode(document).decode()
        return {k: base64.b64encode((v or "").encode()).decode() for k, v in dotenv_values(stream=io.StringIO(text, newline="")).items()}
    except Exception:
        return None


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout)
