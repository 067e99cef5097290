//! Durable messages per second, and the time to their `ack`.

use std::{
    io,
    time::{Duration, Instant},
};

use aldis_tests::{Identity, TestServer, base64};
use futures::future::try_join_all;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::{
    client::{CONFIRM_EVERY, Socket, confirmation, text_frame},
    spread::row,
};

/// Senders, each with their own offline recipient; enough for two batches of 512 messages in flight.
const PAIRS: usize = 400;
/// Fewer than a sender can have undelivered in a mailbox.
const MESSAGES_PER_PAIR: usize = 120;
const MESSAGES: usize = PAIRS * MESSAGES_PER_PAIR;
const CONTENT_BYTES: usize = 200;
/// Messages of one sender in flight, when as many as possible are sent. With fewer, several messages of one sender
/// share a batch less often, and a commit writes more pages.
const WINDOWS: [usize; 2] = [8, 3];
/// Rows of one transaction of the floor.
const FLOOR_BATCH: usize = 500;
const COLUMNS: usize = 9;

const INSERT: &str = "INSERT INTO messages (message_id, sender_id, sender_device_id, request_id, sender_seq, \
     recipient_id, recipient_seq, encrypted_content, created_at_ms)";

const SELECT: &str = "SELECT message_id, sender_id, sender_device_id, request_id, sender_seq, recipient_id, \
     recipient_seq, encrypted_content, created_at_ms FROM messages";

/// Prints the rows of both databases.
pub(crate) fn measure(runtime: &tokio::runtime::Runtime, runs: usize) {
    for database in [Database::Sqlite, Database::Postgres] {
        let mut sustained = Vec::new();
        for window in WINDOWS {
            sustained = measure_rate(runtime, database, window, runs);
        }
        let p99s: Vec<f64> = sustained
            .into_iter()
            .map(|rate| {
                eprintln!("messages, {database:?}, at half of {rate:.0} a second");
                let server = database.start();
                let senders = make_senders(&server);
                runtime.block_on(send_at(&server, &senders, rate / 2.0)).expect("the server")
            })
            .collect();
        row(&format!("p99 of the ack at half of that, {database:?}, ms"), 1, p99s);
    }
}

/// Prints the rows of one database, and returns the server's messages per second.
fn measure_rate(
    runtime: &tokio::runtime::Runtime,
    database: Database,
    window: usize,
    runs: usize,
) -> Vec<f64> {
    let (mut floors, mut servers) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        eprintln!("messages, {database:?}, window {window}, run {run} of {runs}");
        let server = database.start();
        let senders = make_senders(&server);
        servers.push(runtime.block_on(send_all(&server, &senders, window)).expect("the server"));
        let rows = runtime.block_on(database.rows(&server)).expect("what the server has kept");
        drop(server);
        floors.push(runtime.block_on(database.floor(&database.start(), &rows)).expect("the floor"));
    }
    let what = format!("durable messages per second, {database:?}, {window} in flight each");
    row(&format!("{what}, floor"), 0, floors.clone());
    row(&format!("{what}, server"), 0, servers.clone());
    row(&format!("{what}, ratio"), 2, servers.iter().zip(&floors).map(|(server, floor)| server / floor));
    servers
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    fn start(self) -> TestServer {
        let builder = TestServer::builder().env("ALDIS_ROUTING", "open");
        match self {
            Self::Sqlite => builder.start(),
            Self::Postgres => builder.postgres().start(),
        }
    }

    /// The rows that a server has stored, in its order.
    async fn rows(self, server: &TestServer) -> sqlx::Result<Vec<Row>> {
        assert!(server.terminate().success(), "the server stopped");
        let rows = match self {
            Self::Sqlite => {
                let mut connection = SqliteConnection::connect_with(&options(server)).await?;
                let select = AssertSqlSafe(format!("{SELECT} ORDER BY rowid"));
                sqlx::query_as(select).fetch_all(&mut connection).await?
            }
            Self::Postgres => {
                let mut connection = PgConnection::connect(server.database_url()).await?;
                let select = AssertSqlSafe(format!("{SELECT} ORDER BY ctid"));
                sqlx::query_as(select).fetch_all(&mut connection).await?
            }
        };
        assert_eq!(rows.len(), MESSAGES);
        Ok(rows)
    }

    /// Rows per second that one connection inserts into a server's table.
    async fn floor(self, server: &TestServer, rows: &[Row]) -> sqlx::Result<f64> {
        assert!(server.terminate().success(), "the server made its tables and stopped");
        let taken = match self {
            Self::Sqlite => insert_sqlite(&options(server), rows).await?,
            Self::Postgres => insert_postgres(server.database_url(), rows).await?,
        };
        Ok(MESSAGES as f64 / taken.as_secs_f64())
    }
}

/// A row as the server writes it.
#[derive(sqlx::FromRow)]
struct Row {
    message_id: Uuid,
    sender_id: Uuid,
    sender_device_id: String,
    request_id: String,
    sender_seq: i64,
    recipient_id: Uuid,
    recipient_seq: i64,
    encrypted_content: Vec<u8>,
    created_at_ms: i64,
}

/// The same options as the server's.
fn options(server: &TestServer) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(server.directory().join("aldis.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-8192")
}

async fn insert_sqlite(options: &SqliteConnectOptions, rows: &[Row]) -> sqlx::Result<Duration> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let begun = Instant::now();
    for batch in rows.chunks(FLOOR_BATCH) {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let places = vec![format!("({})", ["?"; COLUMNS].join(",")); batch.len()].join(",");
        let mut query = sqlx::query(AssertSqlSafe(format!("{INSERT} VALUES {places}")));
        for row in batch {
            query = query
                .bind(row.message_id)
                .bind(row.sender_id)
                .bind(&row.sender_device_id)
                .bind(&row.request_id)
                .bind(row.sender_seq)
                .bind(row.recipient_id)
                .bind(row.recipient_seq)
                .bind(&row.encrypted_content)
                .bind(row.created_at_ms);
        }
        query.execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(begun.elapsed())
}

async fn insert_postgres(url: &str, rows: &[Row]) -> sqlx::Result<Duration> {
    let mut connection = PgConnection::connect(url).await?;
    let begun = Instant::now();
    for batch in rows.chunks(FLOOR_BATCH) {
        let mut tx = connection.begin().await?;
        let insert = format!(
            "{INSERT} SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], \
             $7::bigint[], $8::bytea[], $9::bigint[])"
        );
        sqlx::query(AssertSqlSafe(insert))
            .bind(batch.iter().map(|row| row.message_id).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.sender_id).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.sender_device_id.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.request_id.as_str()).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.sender_seq).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.recipient_id).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.recipient_seq).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.encrypted_content.as_slice()).collect::<Vec<_>>())
            .bind(batch.iter().map(|row| row.created_at_ms).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(begun.elapsed())
}

/// A sender and their recipient.
struct Sender {
    token: String,
    recipient: String,
}

fn make_senders(server: &TestServer) -> Vec<Sender> {
    let sign_in = || Identity::new().signs_in(server, None).expects(201);
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    (0..PAIRS)
        .map(|_| Sender { token: text(&sign_in()["access_token"]), recipient: text(&sign_in()["user_id"]) })
        .collect()
}

/// Messages per second, with a window of messages in flight for each sender.
async fn send_all(server: &TestServer, senders: &[Sender], window: usize) -> io::Result<f64> {
    let sockets = connect(server, senders).await?;
    let begun = Instant::now();
    try_join_all(sockets.into_iter().zip(senders).map(|(socket, sender)| flood(socket, sender, window)))
        .await?;
    Ok(MESSAGES as f64 / begun.elapsed().as_secs_f64())
}

/// The 99th percentile of the time to the `ack`, in milliseconds, at this rate. A refused message counts as an
/// infinite time.
async fn send_at(server: &TestServer, senders: &[Sender], rate: f64) -> io::Result<f64> {
    let sockets = connect(server, senders).await?;
    let interval = Duration::from_secs_f64(PAIRS as f64 / rate);
    let begun = tokio::time::Instant::now();
    let trickles = sockets.into_iter().zip(senders).enumerate().map(|(number, (socket, sender))| {
        trickle(socket, sender, begun + interval.mul_f64(number as f64 / PAIRS as f64), interval)
    });
    let mut taken: Vec<f64> = try_join_all(trickles).await?.concat();
    taken.sort_by(f64::total_cmp);
    Ok(taken[taken.len() * 99 / 100] * 1e3)
}

async fn connect(server: &TestServer, senders: &[Sender]) -> io::Result<Vec<Socket>> {
    let opening = senders.iter().enumerate().map(|(number, sender)| async move {
        let mut socket = Socket::open(server.address(), number, "/signal", Some(&sender.token)).await?;
        socket.next().await?;
        Ok::<_, io::Error>(socket)
    });
    try_join_all(opening).await
}

async fn flood(mut socket: Socket, sender: &Sender, window: usize) -> io::Result<()> {
    let (mut sent, mut answered) = (0, 0);
    while answered < MESSAGES_PER_PAIR {
        let mut frames = Vec::new();
        while sent < MESSAGES_PER_PAIR && sent < answered + window {
            frames.extend(message(sender, sent));
            sent += 1;
        }
        socket.send(&frames).await?;
        expect_ack(&socket.next().await?)?;
        answered += 1;
        while let Some(ack) = socket.next_received() {
            expect_ack(&ack)?;
            answered += 1;
        }
        if answered.is_multiple_of(CONFIRM_EVERY) {
            socket.send(&confirmation(answered)).await?;
        }
    }
    Ok(())
}

/// Sends each message at its scheduled time, however many are in flight. The time of a late one counts from its
/// schedule.
async fn trickle(
    mut socket: Socket,
    sender: &Sender,
    first: tokio::time::Instant,
    interval: Duration,
) -> io::Result<Vec<f64>> {
    let due = |number: usize| first + interval * number as u32;
    let mut sent = 0;
    let mut taken = Vec::with_capacity(MESSAGES_PER_PAIR);
    while taken.len() < MESSAGES_PER_PAIR {
        tokio::select! {
            () = sleep_until(due(sent)), if sent < MESSAGES_PER_PAIR => {
                socket.send(&message(sender, sent)).await?;
                sent += 1;
            }
            // Answers come in the order of the messages.
            answer = socket.next() => {
                let is_stored = expect_ack(&answer?).is_ok();
                let seconds = due(taken.len()).elapsed().as_secs_f64();
                taken.push(if is_stored { seconds } else { f64::INFINITY });
                if taken.len().is_multiple_of(CONFIRM_EVERY) {
                    socket.send(&confirmation(taken.len())).await?;
                }
            }
        }
    }
    Ok(taken)
}

fn message(sender: &Sender, number: usize) -> Vec<u8> {
    let content = base64(&[b'x'; CONTENT_BYTES]);
    text_frame(&format!(
        r#"{{"type":"message","id":"m-{number}","recipient_id":"{}","encrypted_content":"{content}"}}"#,
        sender.recipient
    ))
}

fn expect_ack(frame: &[u8]) -> io::Result<()> {
    if frame.starts_with(br#"{"type":"ack""#) { Ok(()) } else { Err(io::Error::other(format!("{frame:?}"))) }
}
