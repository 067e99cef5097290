//! What the hot path costs: decoding and encoding the frames that make up most of the traffic.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot begin may stop")]

use aldis_protocol::{
    Ack, AckStatus, ChatMessage, ClientFrame, ClientMessage, Codec, Payload, RelayedSignal, Sender,
    ServerFrame, ServerMessage, Signal, SignalKind, StoredChatMessage, Target, Timestamp, UserId,
};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const CODECS: [Codec; 2] = Codec::ALL;

#[divan::bench(args = CODECS)]
fn decode_offer(bencher: Bencher<'_, '_>, codec: Codec) {
    decode_client(bencher, codec, ClientMessage::Signal(offer()));
}

#[divan::bench(args = CODECS)]
fn decode_chat_message(bencher: Bencher<'_, '_>, codec: Codec) {
    let chat = ChatMessage { room: "lobby".parse().ok(), payload: chat_payload() };
    decode_client(bencher, codec, ClientMessage::ChatMessage(chat));
}

#[divan::bench(args = CODECS)]
fn decode_ack(bencher: Bencher<'_, '_>, codec: Codec) {
    let bytes = codec.encode_server(&server_frame(ServerMessage::Ack(ack())));
    bencher.bench(|| codec.decode_server(black_box(&bytes)).is_ok());
}

#[divan::bench(args = CODECS)]
fn encode_offer(bencher: Bencher<'_, '_>, codec: Codec) {
    let Signal { kind, payload, signature, .. } = offer();
    encode_server(
        bencher,
        codec,
        ServerMessage::Signal(RelayedSignal { kind, sender: sender(), payload, signature }),
    );
}

#[divan::bench(args = CODECS)]
fn encode_chat_message(bencher: Bencher<'_, '_>, codec: Codec) {
    let chat =
        StoredChatMessage { room: name("lobby"), seq: 4711, sender: sender(), payload: chat_payload() };
    encode_server(bencher, codec, ServerMessage::ChatMessage(chat));
}

#[divan::bench(args = CODECS)]
fn encode_ack(bencher: Bencher<'_, '_>, codec: Codec) {
    encode_server(bencher, codec, ServerMessage::Ack(ack()));
}

fn decode_client(bencher: Bencher<'_, '_>, codec: Codec, message: ClientMessage<'_>) {
    let bytes = codec.encode_client(&ClientFrame { id: Some(name("m-1")), message });
    bencher.bench(|| codec.decode_client(black_box(&bytes)).is_ok());
}

fn encode_server(bencher: Bencher<'_, '_>, codec: Codec, message: ServerMessage<'static>) {
    let frame = server_frame(message);
    bencher.bench(|| codec.encode_server(black_box(&frame)));
}

fn server_frame(message: ServerMessage<'static>) -> ServerFrame<'static> {
    ServerFrame { id: Some(name("m-1")), timestamp: Timestamp::from_ms(1_767_225_600_000), message }
}

/// About 200 bytes as a JSON frame.
fn offer() -> Signal<'static> {
    let payload = r#"{"type":"offer","sdp":"v=0\r\no=- 46117326 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"}"#;
    Signal {
        kind: SignalKind::Offer,
        target: Target::Device(name("phone-2")),
        payload: json(payload),
        signature: None,
    }
}

/// 4 KiB.
fn chat_payload() -> Payload<'static> {
    json(&format!(r#"{{"content":"{}"}}"#, "x".repeat(4096 - r#"{"content":""}"#.len())))
}

fn ack() -> Ack<'static> {
    Ack { seq: Some(4711), ..Ack::new(AckStatus::Stored, "Message stored") }
}

fn sender() -> Sender {
    Sender {
        device_id: name("phone-1"),
        user_id: UserId::new(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        fingerprint: None,
    }
}

fn json(text: &str) -> Payload<'static> {
    Payload::from_json(text).expect("the benchmark's payloads are JSON").into_owned()
}

fn name<T: std::str::FromStr<Err = aldis_protocol::InvalidId>>(text: &str) -> T {
    text.parse().expect("the benchmark's names are valid")
}
