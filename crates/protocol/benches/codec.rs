//! What the hot path costs: decoding and encoding the frames that make up most of the traffic.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot begin may stop")]

use aldis_protocol::{
    Ack, AckStatus, ChatMessage, ClientFrame, ClientMessage, Codec, Fingerprint, Payload, RelayedSignal,
    RequestId, Sender, ServerFrame, ServerMessage, Signal, SignalKind, SignalSignature, StoredChatMessage,
    Target, Timestamp, UserId,
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

/// A signed session description of 1,500 bytes, as browsers make them.
#[divan::bench(args = CODECS)]
fn decode_signed_offer(bencher: Bencher<'_, '_>, codec: Codec) {
    decode_client(bencher, codec, ClientMessage::Signal(signed_offer()));
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
        ServerMessage::Signal(RelayedSignal::new(kind, sender(), payload).with_signature(signature)),
    );
}

/// The same as the target gets it, with the sender's fingerprint.
#[divan::bench(args = CODECS)]
fn encode_signed_offer(bencher: Bencher<'_, '_>, codec: Codec) {
    let Signal { kind, payload, signature, .. } = signed_offer();
    let sender = sender().with_fingerprint(Fingerprint([7; 32]));
    encode_server(
        bencher,
        codec,
        ServerMessage::Signal(RelayedSignal::new(kind, sender, payload).with_signature(signature)),
    );
}

#[divan::bench(args = CODECS)]
fn encode_chat_message(bencher: Bencher<'_, '_>, codec: Codec) {
    let chat = StoredChatMessage::new(name("lobby"), 4711, sender(), chat_payload());
    encode_server(bencher, codec, ServerMessage::ChatMessage(chat));
}

/// What answers a signal.
#[divan::bench(args = CODECS)]
fn encode_delivered(bencher: Bencher<'_, '_>, codec: Codec) {
    let message = "Message delivered to phone-2";
    encode_server(bencher, codec, ServerMessage::Ack(Ack::new(AckStatus::Delivered, message)));
}

#[divan::bench(args = CODECS)]
fn encode_ack(bencher: Bencher<'_, '_>, codec: Codec) {
    encode_server(bencher, codec, ServerMessage::Ack(ack()));
}

fn decode_client(bencher: Bencher<'_, '_>, codec: Codec, message: ClientMessage<'_>) {
    let bytes = codec.encode_client(&ClientFrame { id: Some(id()), message });
    bencher.bench(|| codec.decode_client(black_box(&bytes)).is_ok());
}

fn encode_server(bencher: Bencher<'_, '_>, codec: Codec, message: ServerMessage<'static>) {
    let frame = server_frame(message);
    bencher.bench(|| codec.encode_server(black_box(&frame)));
}

fn server_frame(message: ServerMessage<'static>) -> ServerFrame<'static> {
    ServerFrame { id: Some(id()), timestamp: Timestamp::from_ms(1_767_225_600_000), message }
}

/// As client libraries make them.
fn id() -> RequestId {
    RequestId::from_uuid(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002))
}

fn signed_offer() -> Signal<'static> {
    let line = r"a=candidate:1467250027 1 udp 2122260223 192.168.0.196 46243 typ host generation 0\r\n";
    let (start, end) =
        (r#"{"type":"offer","sdp":"v=0\r\no=- 46117326 2 IN IP4 127.0.0.1\r\ns=-\r\n"#, r#""}"#);
    let lines = line.repeat((1500 - start.len() - end.len()) / line.len());
    Signal {
        payload: json(&format!("{start}{lines}{end}")),
        signature: Some(SignalSignature { signature: [9; 64], created_at_ms: 1_767_225_600_000 }),
        ..offer()
    }
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
    Ack::new(AckStatus::Stored, "Message stored").with_seq(4711)
}

fn sender() -> Sender {
    Sender::new(
        name("phone-1"),
        UserId::new(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
    )
}

fn json(text: &str) -> Payload<'static> {
    Payload::from_json(text).expect("the benchmark's payloads are JSON").into_owned()
}

fn name<T: std::str::FromStr<Err = aldis_protocol::InvalidId>>(text: &str) -> T {
    text.parse().expect("the benchmark's names are valid")
}
