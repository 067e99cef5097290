//! A naive server of rooms, of one mailbox and of a few users who are watched. What it is asked, what it answers and what it sends on go their own ways,
//! each in its order.

use super::*;

/// A room, or the mailbox: everything that ever had a number in it.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    pub(super) first_kept: u64,
    /// Numbers that are gone out of the middle.
    pub(super) gone: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// The client's id of what it sent itself.
    pub(super) own: Option<RequestId>,
    /// In the mailbox: whether it is for the client's user.
    pub(super) is_received: bool,
    pub(super) delivered: bool,
    timestamp: i64,
}

impl Log {
    pub(super) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    fn append(&mut self, own: Option<RequestId>, is_received: bool, timestamp: i64) -> u64 {
        let seq = self.head() + 1;
        self.entries.push(Entry { seq, own, is_received, delivered: false, timestamp });
        seq
    }

    pub(super) fn is_kept(&self, seq: u64) -> bool {
        seq >= self.first_kept && seq <= self.head() && !self.gone.contains(&seq)
    }

    pub(super) fn first_kept(&self) -> u64 {
        self.first_kept.max(1)
    }

    fn page(&self, since: u64, limit: u32) -> (Vec<Entry>, bool) {
        let newer = self.entries.iter().filter(|entry| entry.seq > since && self.is_kept(entry.seq));
        let page: Vec<Entry> = newer.clone().take(limit as usize).cloned().collect();
        (page.clone(), page.len() == newer.count())
    }

    fn of(&self, id: &RequestId) -> Option<u64> {
        self.entries.iter().find(|entry| entry.own.as_ref() == Some(id)).map(|entry| entry.seq)
    }
}

/// What a session of the server has.
#[derive(Default)]
pub(super) struct Held {
    pub(super) joined: BTreeSet<RoomId>,
    pub(super) watched: HashSet<UserRef>,
    pub(super) shown: Option<Status>,
    /// Asked, and not begun.
    pub(super) asked: VecDeque<Bytes>,
    /// Carried out, and not answered.
    pub(super) carried_out: VecDeque<(Bytes, Outcome, i64)>,
    /// Stored, and not sent to the session.
    pub(super) to_tell: VecDeque<(Option<RoomId>, Entry)>,
    acks: HashMap<RequestId, Ack<'static>>,
}

#[derive(Clone)]
pub(super) enum Outcome {
    Ack(Ack<'static>),
    /// It was carried out before.
    Again(Ack<'static>),
    Refused(ErrorCode),
    /// Looked up when it is answered.
    Look,
}

/// The rooms, the mailbox, who is watched, and the sessions of the one client.
pub(super) struct Server {
    pub(super) net: Net<Held>,
    /// By room; the mailbox under none.
    pub(super) logs: BTreeMap<Option<RoomId>, Log>,
    /// From where on the application may be told of a room, and from where on it has to be.
    pub(super) followed: BTreeMap<RoomId, (u64, u64)>,
    /// The application's own joins that it has no answer to.
    pub(super) joining: BTreeMap<u32, RoomId>,
    /// How often a user has changed their presence.
    pub(super) changes: HashMap<UserRef, u32>,
    clock: i64,
}

impl Server {
    pub(super) fn new(rig: Rig) -> Self {
        Self {
            net: Net::new(rig),
            logs: BTreeMap::from([(None, Log::default())]),
            followed: BTreeMap::new(),
            joining: BTreeMap::new(),
            changes: HashMap::new(),
            clock: 0,
        }
    }

    pub(super) fn held<T>(&mut self, act: impl FnOnce(&mut Held) -> T) -> Option<T> {
        self.net.sessions.session.as_mut().map(|session| act(&mut session.state))
    }

    /// Stores a message, and tells the session of it in its turn.
    pub(super) fn append(&mut self, room: Option<RoomId>, own: Option<RequestId>, is_received: bool) -> u64 {
        let clock = self.tick();
        let log = self.logs.get_mut(&room).unwrap();
        let seq = log.append(own.clone(), is_received, clock);
        let entry = log.entries.last().unwrap().clone();
        let is_told = own.is_none() || (room.is_none() && is_received);
        self.held(|held| {
            if is_told && room.as_ref().is_none_or(|room| held.joined.contains(room)) {
                held.to_tell.push_back((room, entry));
            }
        });
        seq
    }

    pub(super) fn carry_out(&mut self, refused: bool) {
        let Some(bytes) = self.held(|held| held.asked.pop_front()).flatten() else { return };
        let ClientFrame { id, message } = Codec::Json.decode_client(&bytes).unwrap();
        let id = id.unwrap();
        let known = self.held(|held| held.acks.get(&id).cloned()).flatten();
        let outcome = match known {
            Some(ack) => Outcome::Again(ack),
            None if refused && may_be_refused(&id, message.kind()) => {
                Outcome::Refused(ErrorCode::RateLimited)
            }
            None => self.decide(&id, &message),
        };
        if let Outcome::Ack(ack) = &outcome {
            self.held(|held| held.acks.insert(id, ack.clone()));
        }
        let clock = self.tick();
        self.held(|held| held.carried_out.push_back((bytes.clone(), outcome, clock)));
    }

    pub(super) fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn decide(&mut self, id: &RequestId, message: &ClientMessage<'_>) -> Outcome {
        if let ClientMessage::Join(join) = message {
            self.enter(join.room.as_ref().unwrap());
        } else if let ClientMessage::Leave(leave) = message {
            if self.held(|held| held.joined.remove(leave.room.as_ref().unwrap())) != Some(true) {
                return Outcome::Refused(ErrorCode::UnknownRoom);
            }
        } else if let ClientMessage::ChatMessage(chat) = message {
            return self.store_chat(chat.room.clone().unwrap(), id);
        } else if let ClientMessage::Message(sent) = message {
            return self.store_once(None, id, sent.recipient == UserRef::Id(user(ME)));
        } else if let ClientMessage::Delivered(delivered) = message {
            return self.acknowledge(&delivered.message_ids);
        } else if let ClientMessage::Presence(presence) = message {
            self.held(|held| held.shown = Some(presence.status));
        } else if let ClientMessage::PresenceSubscribe(subscribe) = message {
            self.held(|held| held.watched.extend(&subscribe.user_ids));
        } else if let ClientMessage::PresenceUnsubscribe(unsubscribe) = message {
            self.held(|held| held.watched.retain(|user| !unsubscribe.user_ids.contains(user)));
        } else {
            return Outcome::Look;
        }
        Outcome::Ack(Ack::new(AckStatus::Done, "done"))
    }

    fn enter(&mut self, room: &RoomId) {
        let head = self.logs[&Some(room.clone())].head();
        if self.joining.values().any(|joining| joining == room) {
            self.followed.entry(room.clone()).or_insert((head, head)).1 = head;
        }
        self.held(|held| held.joined.insert(room.clone()));
    }

    fn store_chat(&mut self, room: RoomId, id: &RequestId) -> Outcome {
        if self.held(|held| held.joined.contains(&room)) != Some(true) {
            return Outcome::Refused(ErrorCode::UnknownRoom);
        }
        self.store_once(Some(room), id, false)
    }

    fn acknowledge(&mut self, ids: &[MessageId]) -> Outcome {
        let log = self.logs.get_mut(&None).unwrap();
        for message_id in ids {
            let seq = u64::try_from(message_id.as_uuid().as_u128()).unwrap();
            if !log.is_kept(seq) || !log.entries[at(seq)].is_received {
                return Outcome::Refused(ErrorCode::UnknownMessage);
            }
            log.entries[at(seq)].delivered = true;
        }
        Outcome::Ack(Ack::new(AckStatus::Done, "done"))
    }

    fn store_once(&mut self, room: Option<RoomId>, id: &RequestId, is_received: bool) -> Outcome {
        let known = self.logs[&room].of(id);
        let seq = known.unwrap_or_else(|| self.append(room.clone(), Some(id.clone()), is_received));
        let duplicate = known.map(|_| true);
        let message_id = room.is_none().then(|| message_id(seq));
        let ack = Ack::new(AckStatus::Stored, "stored")
            .with_seq(seq)
            .with_message_id(message_id)
            .with_duplicate(duplicate);
        Outcome::Ack(ack)
    }

    pub(super) fn answer(&mut self) {
        let next = self.held(|held| held.carried_out.pop_front()).flatten();
        let Some((bytes, outcome, clock)) = next else { return };
        let ClientFrame { id, message } = Codec::Json.decode_client(&bytes).unwrap();
        match (outcome, message) {
            // The presence of new subscriptions comes after the answer.
            (Outcome::Ack(ack), ClientMessage::PresenceSubscribe(subscribe)) => {
                self.reply(clock, id, ServerMessage::Ack(ack));
                subscribe.user_ids.into_iter().for_each(|user| self.tell_of(user));
            }
            (Outcome::Ack(ack) | Outcome::Again(ack), _) => self.reply(clock, id, ServerMessage::Ack(ack)),
            (Outcome::Refused(code), _) => {
                let error = ErrorReply { retry_after: Some(1), ..ErrorReply::new(code, "not now") };
                let error = if code == ErrorCode::RateLimited { error } else { ErrorReply::new(code, "no") };
                self.reply(clock, id, ServerMessage::Error(error));
            }
            (Outcome::Look, ClientMessage::History(request)) => self.answer_history(id, request),
            (Outcome::Look, ClientMessage::Sync(sync)) => self.answer_sync(id, sync),
            (Outcome::Look, _) => panic!("{bytes:?}"),
        }
    }

    fn reply(&mut self, ms: i64, id: Option<RequestId>, message: ServerMessage<'_>) {
        let is_counted = message.is_counted();
        self.net.sessions.send(dated(ms, id, message), is_counted);
    }

    fn answer_history(&mut self, id: Option<RequestId>, request: HistoryRequest) {
        let room = request.room.unwrap();
        let log = &self.logs[&Some(room.clone())];
        let (page, complete) = log.page(request.since_seq, request.limit.unwrap().min(7));
        let first_seq = log.first_kept();
        let messages = page
            .into_iter()
            .map(|entry| {
                HistoryMessage::new(
                    entry.own.clone(),
                    Timestamp::from_ms(entry.timestamp),
                    chat(&room, &entry),
                )
            })
            .collect();
        self.reply(self.clock, id, ServerMessage::History(History::new(room, messages, complete, first_seq)));
    }

    /// While it runs, what is new comes through it alone.
    fn answer_sync(&mut self, id: Option<RequestId>, sync: Sync) {
        let log = self.logs.get_mut(&None).unwrap();
        for entry in log.entries.iter_mut().filter(|entry| entry.seq <= sync.since_seq) {
            entry.delivered |= entry.is_received;
        }
        let (page, complete) = log.page(sync.since_seq, sync.limit.unwrap().min(5));
        let seq = page.last().map_or(sync.since_seq, |entry| entry.seq);
        let first_seq = log.first_kept();
        for entry in page {
            self.net.sessions.send(dated(entry.timestamp, id.clone(), mail(&entry)), false);
        }
        self.held(|held| held.to_tell.retain(|(room, entry)| room.is_some() || entry.seq > seq));
        self.reply(self.clock, id, ServerMessage::Synced(Synced::new(seq, first_seq, complete)));
    }

    /// What arrives may be the proof of a client that comes back. What it was told on the last socket may be lost.
    pub(super) fn arrive(&mut self, count: usize) {
        let greeted = self.net.sessions.tokens;
        let asked = self.net.arrive_at_server(count);
        if self.net.sessions.tokens > greeted {
            let watched = self.held(|held| held.watched.clone()).unwrap_or_default();
            watched.into_iter().for_each(|user| self.tell_of(user));
        }
        self.held(|held| held.asked.extend(asked));
    }

    /// A user changes their presence.
    pub(super) fn change(&mut self, user: UserRef) {
        *self.changes.entry(user).or_default() += 1;
        self.tell_of(user);
    }

    /// Tells the session of a user, if it watches them.
    fn tell_of(&mut self, user: UserRef) {
        let (UserRef::Id(user_id), Some(true)) = (user, self.held(|held| held.watched.contains(&user)))
        else {
            return;
        };
        let (status, devices) = (Status::Online, self.changes.get(&user).copied().unwrap_or_default());
        let presence = Presence::new(user_id, status, devices);
        self.reply(self.clock, None, ServerMessage::Presence(presence));
    }

    pub(super) fn tell(&mut self) {
        let Some((room, entry)) = self.held(|held| held.to_tell.pop_front()).flatten() else { return };
        match room {
            Some(room) => {
                let said = ServerMessage::ChatMessage(chat(&room, &entry));
                self.reply(entry.timestamp, entry.own, said);
            }
            None => self.reply(entry.timestamp, None, mail(&entry)),
        }
    }
}

/// The application's own joins and changes would be its to repeat. Where one is sent again after a break, the refusal of
/// the first is not all that came of it.
fn may_be_refused(id: &RequestId, kind: MessageKind) -> bool {
    !id.as_str().starts_with("own-") || is_stored(kind)
}

pub(super) fn is_stored(kind: MessageKind) -> bool {
    matches!(kind, MessageKind::ChatMessage | MessageKind::Message)
}

pub(super) fn at(seq: u64) -> usize {
    usize::try_from(seq - 1).unwrap()
}

fn sender(entry: &Entry) -> Sender {
    let device_id = if entry.own.is_some() { device() } else { "phone".parse().unwrap() };
    Sender::new(device_id, user(ME))
}

fn chat(room: &RoomId, entry: &Entry) -> StoredChatMessage<'static> {
    let payload = Payload::from_json(r#"{"content":"hello"}"#).unwrap().into_owned();
    StoredChatMessage::new(room.clone(), entry.seq, sender(entry), payload)
}

fn mail(entry: &Entry) -> ServerMessage<'static> {
    let number = entry.own.as_ref().map(|id| id.as_str().trim_start_matches("own-").to_owned());
    let content = number.map_or_else(|| format!("{}", entry.seq), |number| format!("own {number}"));
    let to = if entry.is_received { ME } else { 9 };
    let from = if entry.own.is_some() || !entry.is_received { ME } else { 9 };
    ServerMessage::Message(MailboxMessage::new(
        message_id(entry.seq),
        entry.seq,
        user(from),
        sender(entry).device_id,
        user(to),
        content.into_bytes().into(),
        Timestamp::from_ms(entry.timestamp),
    ))
}
