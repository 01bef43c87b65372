"""Judges configs by a JSON Schema: judge.py SCHEMA CONFIGS, both JSON; prints a list of verdicts."""

import json
import sys

from jsonschema import Draft202012Validator

schema, configs = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
print(json.dumps([validator.is_valid(config) for config in configs]))
