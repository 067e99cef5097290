"""Validates frames by a JSON Schema with Python's `jsonschema`, and reports unexpected results."""
import json, sys
from jsonschema import Draft202012Validator

asked = json.load(sys.stdin)
schema = asked["schema"]
Draft202012Validator.check_schema(schema)
wrong = 0
validators = {}
for definition, frame, is_valid in asked["cases"]:
    if definition not in validators:
        validators[definition] = Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]})
    if validators[definition].is_valid(frame) != is_valid:
        wrong += 1
        print(definition, "valid" if is_valid else "invalid", json.dumps(frame), file=sys.stderr)
print(len(asked["cases"]) if not wrong else -wrong, "cases")
sys.exit(1 if wrong else 0)
