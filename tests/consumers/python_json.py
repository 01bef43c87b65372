"""JSON as Python reads it. In as in python_dotenv.py; out: what each document holds, told anew."""
import base64, json, sys


def read(document):
    try:
        return json.loads(base64.b64decode(document))
    except Exception:
        return None


json.dump([read(document) for document in json.load(sys.stdin)], sys.stdout)
