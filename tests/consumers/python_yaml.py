"""YAML as Python reads it; takes the reader. In as in python_dotenv.py; out: what each document holds."""
import base64, io, json, sys
import ruamel.yaml, yaml


class Ruamel:
    """To make its reader takes as long as to read, so one is kept until a document upsets it."""

    reader = None

    def load(self, text):
        reader, self.reader = self.reader or ruamel.yaml.YAML(typ="safe", pure=True), None
        found = reader.load(io.StringIO(text))
        self.reader = reader
        return found


# The loaders that build any object: what can run, should.
READERS = {
    "pyyaml": lambda text: yaml.load(text, Loader=yaml.UnsafeLoader),
    "libyaml": lambda text: yaml.load(text, Loader=yaml.CUnsafeLoader),
    "ruamel": Ruamel().load,
}
load = READERS[sys.argv[1]]


def told(found):
    """A key that is no text must not pass for one."""
    if isinstance(found, dict):
        return {key if isinstance(key, str) else f"not a text: {key!r}": told(item) for key, item in found.items()}
    return [told(item) for item in found] if isinstance(found, list) else found


def read(document):
    try:
        return told(load(base64.b64decode(document).decode()))
    except Exception:
        return None


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout, default=repr)
