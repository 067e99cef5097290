"""Verifies an access token of Aldis with PyJWT.

python3 verify_token.py TOKEN ISSUER SECRET_KEY                         where ALGORITHM is HS256
python3 verify_token.py TOKEN ISSUER https://HOST/.well-known/jwks.json where ALGORITHM is EdDSA

ISSUER is the server's public origin, such as https://aldis.example; `aldis` if none is configured."""
import json, sys
import jwt

REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time"]

def verify(token, issuer, secret_or_jwks_url):
    if secret_or_jwks_url.startswith(("http://", "https://")):
        # The client keeps the keys, and asks again when a token names one that it does not know.
        key, algorithm = jwt.PyJWKClient(secret_or_jwks_url).get_signing_key_from_jwt(token).key, "EdDSA"
    else:
        key, algorithm = secret_or_jwks_url.encode(), "HS256"
    # The algorithm comes from the configuration, never from the token.
    return jwt.decode(token, key, algorithms=[algorithm], audience=issuer, issuer=issuer, leeway=5,
                      options={"require": REQUIRED})

if __name__ == "__main__":
    try:
        print(json.dumps(verify(*sys.argv[1:])))
    except (jwt.PyJWTError, jwt.PyJWKClientError) as error:
        sys.exit(f"refused: {error}")
