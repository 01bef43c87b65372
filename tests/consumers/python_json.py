"""JSON as Python reads it. In as in python_dotenv.py; out: what each document holds, told anew.
With `inner`, what the JSON in its `k` holds."""
import base64, json, sys


def read(document):
    try:
        found = json.loads(base64.b64decode(document))
        return {"k": json.loads(found["k"])} if "inner" in sys.argv else found
    except Exception:
        return None


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout)
