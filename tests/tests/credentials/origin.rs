//! Tokens of one deployment, shown to another with the same `SECRET_KEY`.

use aldis_tests::{TestServer, Upgrade, token};
use serde_json::{Value, json};

const ORIGINS: [(Option<&str>, &str); 3] = [
    (None, "aldis"),
    (Some("https://Aldis.Example:443"), "https://aldis.example"),
    (Some("http://relay.example:8443"), "http://relay.example:8443"),
];

fn server(origin: Option<&str>, algorithm: &str) -> TestServer {
    let builder = TestServer::builder().env("ALGORITHM", algorithm);
    match origin {
        Some(origin) => builder.env("ALDIS_PUBLIC_ORIGIN", origin).start(),
        None => builder.start(),
    }
}

#[test]
fn issuer_and_audience_are_the_public_origin() {
    for algorithm in ["HS256", "EdDSA"] {
        for (origin, name) in ORIGINS {
            let claims = token::claims(&server(origin, algorithm).user().token);
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!(name), &json!(name)), "{claims}");
        }
    }
}

#[test]
fn a_token_of_another_deployment_with_the_same_secret_was_accepted() {
    let servers = ORIGINS.map(|(origin, name)| (server(origin, "HS256"), name));
    for (server, own) in &servers {
        let user = server.user();
        for (_, name) in &servers {
            let of_other = token::altered(&user.token, &json!({"iss": name, "aud": name}));
            let answer = server.http().bearer(&of_other).get("/devices/");
            if name == own {
                answer.expects(200);
            } else {
                answer.expects_problem(401, "invalid_token");
                let mut peer = Upgrade::to("/signal").bearer(&of_other).peer(server);
                peer.expects_error_and_close("invalid_token", 4002);
            }
        }
        for changes in
            [json!({"iss": Value::Null}), json!({"aud": Value::Null}), json!({"aud": "aldis.example"})]
        {
            let altered = token::altered(&user.token, &changes);
            server.http().bearer(&altered).get("/devices/").expects_problem(401, "invalid_token");
        }
    }
}
