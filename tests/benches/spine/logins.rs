//! The time until a login is refused: with a wrong password for a known address, and for an unknown one.

use std::time::{Duration, Instant};

use aldis_tests::{Http, TestServer, User, unique};
use serde_json::json;

use crate::spread::{Spread, row};

/// Logins of each kind in a run.
const LOGINS: usize = 200;
const WARM_UP: usize = 20;

/// Prints the rows. It waits for each response on its own thread, one login at a time, like an attacker who measures.
pub(crate) fn measure(runs: usize) {
    for hash in ["argon2id", "bcrypt"] {
        let (mut known, mut unknown, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        for run in 1..=runs {
            eprintln!("logins with {hash}, run {run} of {runs}");
            let server = TestServer::builder().env("PASSWORD_HASH", hash).start();
            let (wrong_password, unknown_address) = medians(&server);
            known.push(milliseconds(wrong_password));
            unknown.push(milliseconds(unknown_address));
            ratio.push(unknown_address.as_secs_f64() / wrong_password.as_secs_f64());
        }
        row(&format!("login, wrong password, {hash}, median, ms"), 2, known);
        row(&format!("login, unknown address, {hash}, median, ms"), 2, unknown);
        row(&format!("**login, ratio of the medians, {hash}**"), 3, ratio);
    }
}

/// Alternates between both kinds, so that other load on the machine affects both.
fn medians(server: &TestServer) -> (Duration, Duration) {
    let users: Vec<User> = (0..8).map(|_| server.user()).collect();
    let http = server.http();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + LOGINS {
        let wrong_password = time(&http, &users[number % users.len()].email);
        let unknown_address = time(&http, &format!("{}@aldis.example", unique("somebody")));
        if number >= WARM_UP {
            known.push(wrong_password);
            unknown.push(unknown_address);
        }
    }
    (median(known), median(unknown))
}

fn time(http: &Http, email: &str) -> Duration {
    let body = json!({"email": email, "password": "not the password"});
    let start = Instant::now();
    let answer = http.post("/auth/login", &body);
    let time = start.elapsed();
    answer.expects_problem(401, "invalid_credentials");
    time
}

fn median(times: Vec<Duration>) -> Duration {
    Duration::from_secs_f64(Spread::of(times.into_iter().map(|time| time.as_secs_f64())).median())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
