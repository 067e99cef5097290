"""Makes and signs a statement: echo '{"fingerprint": …}' | python3 statements.py device SECRET_KEY_IN_HEX"""
import base64, hashlib, json, struct, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROTATION = "fingerprint sequence previous_hash:hex old_key:base64 new_key:base64 reason created_at_ms"
STATEMENTS = {  # the fields in order; after a colon, the form of a field that is not a text or number
    "auth-challenge": "audience transport nonce:base64 public_key:base64 device_id expires_at_ms",
    "identity-genesis": "public_key:base64",
    "key-rotation": ROTATION,
    "key-rotation-accept": ROTATION,
    "key-rotation-cancel": "fingerprint sequence previous_hash:hex target_hash:hex signer_key:base64 created_at_ms",
    "device": "fingerprint device_id public_key:base64 created_at_ms",
    "encryption-key": "fingerprint encryption_key:base64 created_at_ms",
    "signal": "type sender_fingerprint sender_device_id target id created_at_ms payload_utf8:sha256",
}
sha256 = lambda text: hashlib.sha256(text.encode()).digest()
FORMS = {"base64": base64.b64decode, "hex": bytes.fromhex, "sha256": sha256, "": lambda value: value}

def statement(name, fields):
    data = b"aldis/v1/" + name.encode() + b"\0"
    for field, _, form in (word.partition(":") for word in STATEMENTS[name].split()):
        value = FORMS[form](fields[field])
        raw = {int: lambda: struct.pack(">Q", value), str: lambda: value.encode(), bytes: lambda: value}[type(value)]()
        data += struct.pack(">I", len(raw)) + raw
    return data

if __name__ == "__main__":
    data = statement(sys.argv[1], json.load(sys.stdin))
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sys.argv[2]))
    print(data.hex(), hashlib.sha256(data).hexdigest(), base64.b64encode(key.sign(data)).decode(), sep="\n")
