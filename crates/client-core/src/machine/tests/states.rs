//! Whatever happens: states move along their edges, and each request has one outcome.

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Token(bool),
    Dialed,
    DialFailed(u16),
    Challenge,
    Connected,
    Failure(usize),
    AuthRequired,
    Ack(u32),
    Signal,
    ClosingError(u16, Option<bool>),
    Closed(u16),
    Broken,
    Pong,
    Noise(Vec<u8>),
    Ask(bool),
    Pass(u64),
    Hold,
    NetworkChange,
    Wake,
    Online(bool),
    Stop,
}

fn close_code() -> impl Strategy<Value = u16> {
    prop_oneof![prop::sample::select(CloseCode::ALL).prop_map(CloseCode::as_u16), any::<u16>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Token),
        3 => Just(Step::Dialed),
        1 => prop::sample::select(vec![403_u16, 429, 503]).prop_map(Step::DialFailed),
        1 => Just(Step::Challenge),
        4 => Just(Step::Connected),
        1 => (0..ErrorCode::ALL.len()).prop_map(Step::Failure),
        1 => Just(Step::AuthRequired),
        3 => (0..40_u32).prop_map(Step::Ack),
        1 => Just(Step::Signal),
        1 => (close_code(), any::<Option<bool>>()).prop_map(|(code, reconnect)| Step::ClosingError(code, reconnect)),
        2 => close_code().prop_map(Step::Closed),
        1 => Just(Step::Broken),
        1 => Just(Step::Pong),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Noise),
        4 => any::<bool>().prop_map(Step::Ask),
        4 => (0..40_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Hold),
        1 => Just(Step::NetworkChange),
        1 => Just(Step::Wake),
        1 => any::<bool>().prop_map(Step::Online),
        1 => Just(Step::Stop),
    ]
}

impl Rig {
    fn step(&mut self, step: Step, asked: &mut u32) {
        match step {
            Step::Token(true) => self.token("a token"),
            Step::Token(false) => self.no_token("none", false),
            Step::Dialed => self.dialed(),
            Step::DialFailed(status) => {
                let error = DialError::Refused { status, retry_after: None };
                self.act(|machine, now| machine.handle_dial_failed(now, error));
            }
            Step::Challenge => self.hear(None, challenge(AUDIENCE, 10_000)),
            Step::Connected => self.hear(None, ServerMessage::Connected(connected())),
            Step::Failure(at) => self.hear(None, failure(ErrorCode::ALL[at])),
            Step::AuthRequired => {
                let required =
                    AuthRequired { reason: AuthRequired::REASON.into(), expires_at: Timestamp::from_ms(1) };
                self.hear(None, ServerMessage::AuthRequired(required));
            }
            Step::Ack(at) => self.hear(Some(&format!("m-{at}")), ack()),
            Step::Signal => self.hear(None, signal(SignalKind::Offer)),
            Step::ClosingError(code, reconnect) => {
                let error =
                    ErrorReply { close: Some(code), reconnect, ..ErrorReply::new(ErrorCode::Overloaded, "") };
                self.hear(None, ServerMessage::Error(error));
            }
            Step::Closed(code) => self.closed(code),
            Step::Broken => self.act(|machine, now| machine.handle_broken(now, String::new())),
            Step::Pong => self.act(|machine, now| machine.handle_pong(now)),
            Step::Noise(bytes) => self.act(|machine, now| machine.handle_frame(now, &bytes.into())),
            Step::Ask(durable) => {
                self.ask(*asked, if durable { MessageKind::Message } else { MessageKind::Offer });
                *asked += 1;
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Step::Hold => self.act(|machine, _| machine.hold_rooms(|_| false)),
            Step::Wake => self.act(Machine::handle_wake),
            Step::Online(is_online) => {
                self.act(|machine, now| machine.handle_online(now, is_online));
            }
            Step::NetworkChange => self.act(Machine::handle_network_change),
            Step::Stop => self.act(Machine::handle_stop),
        }
    }
}

fn may_follow(from: State, to: State) -> bool {
    use State::{Authenticating, Connected, Connecting, Disconnected, Reconnecting};
    matches!(
        (from, to),
        (Disconnected, Connecting)
            | (Connecting | Reconnecting, Authenticating)
            | (Authenticating, Connected)
            | (Connecting | Authenticating | Connected, Reconnecting)
            | (Connecting | Authenticating | Connected | Reconnecting, Disconnected)
    )
}

proptest! {
    #[test]
    fn whatever_happens_states_move_along_their_edges_and_each_request_has_one_outcome(
        by_key: bool,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut rig = if by_key { Rig::with_key() } else { Rig::with_token() };
        let mut asked = 0;
        for step in steps {
            rig.step(step, &mut asked);
            prop_assert_eq!(rig.finished, rig.states.last() == Some(&State::Disconnected));
        }
        rig.act(Machine::handle_stop);
        rig.pass(Duration::from_secs(2));
        rig.pass(Duration::from_secs(2));
        prop_assert!(rig.finished, "a stop ends it");
        prop_assert!(rig.machine.next_timeout().is_none());
        for pair in rig.states.windows(2) {
            prop_assert!(may_follow(pair[0], pair[1]), "{:?}", pair);
        }
        let mut outcomes: Vec<_> = rig.settled.iter().map(|(reply_to, _)| *reply_to).collect();
        outcomes.sort_unstable();
        prop_assert_eq!(outcomes, (0..asked).collect::<Vec<_>>());
    }
}
