/** A frame of the server, as on the wire. */
export interface Frame {
  readonly type: string;
  readonly id?: string;
  readonly timestamp?: string;
  readonly [member: string]: unknown;
}

/** A value that JSON has. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** Who sent something. The server vouches for it. */
export interface Sender {
  readonly userId: string;
  readonly deviceId: string;
  /** The sender's identity, where there is one. */
  readonly fingerprint?: string;
}

/** A message of a room. */
export interface RoomMessage {
  readonly room: string;
  /** Its number in the room. Numbers have no gaps. */
  readonly seq: number;
  /** The sender's id of it. */
  readonly id?: string;
  readonly sender: Sender;
  readonly content: string;
  readonly timestamp: string;
}

/** A message of the mailbox. */
export interface MailboxMessage {
  readonly messageId: string;
  /** Its number in the mailbox; the cursor to keep with it. */
  readonly seq: number;
  readonly sender: Sender;
  readonly recipientId: string;
  /** What only the recipient can read. */
  readonly content: Uint8Array;
  readonly createdAt: string;
}

/** What was done with a request. */
export interface Receipt {
  readonly status: "delivered" | "buffered" | "stored" | "done" | (string & {});
  readonly message: string;
  /** The number of a stored message. */
  readonly seq?: number;
  readonly messageId?: string;
  /** The devices that a signal to a user reached. */
  readonly devices?: readonly string[];
}

/** How a watched user shows themselves. */
export interface Presence {
  readonly userId: string;
  readonly status: "online" | "away" | "busy" | "offline" | (string & {});
  readonly note: string | null;
  readonly devices: number;
  readonly lastSeen: string | null;
}

/** The kinds of signals. */
export type SignalKind = "offer" | "answer" | "ice-candidate" | "signal";

/** A signal of another device. */
export interface IncomingSignal {
  readonly kind: SignalKind;
  readonly id?: string;
  readonly sender: Sender;
  readonly payload: Json;
  readonly timestamp: string;
}

/** STUN and TURN servers, as `RTCPeerConnection` takes them. */
export interface IceServer {
  readonly urls: string | string[];
  readonly username?: string;
  readonly credential?: string;
}

const SIGNAL_KINDS: readonly string[] = ["offer", "answer", "ice-candidate", "signal"];

export function isSignal(frame: Frame): boolean {
  return SIGNAL_KINDS.includes(frame.type);
}

export function senderOf(frame: Frame): Sender {
  const fingerprint = frame["sender_fingerprint"];
  return {
    userId: text(frame["sender_user_id"]),
    deviceId: text(frame["sender_device_id"]),
    ...(typeof fingerprint === "string" ? { fingerprint } : {}),
  };
}

export function roomMessage(frame: Frame): RoomMessage {
  const payload = frame["payload"] as { content?: unknown } | null;
  return {
    room: text(frame["room"]),
    seq: number(frame["seq"]),
    ...(frame.id === undefined ? {} : { id: frame.id }),
    sender: senderOf(frame),
    content: text(payload?.content),
    timestamp: text(frame.timestamp),
  };
}

export function mailboxMessage(frame: Frame): MailboxMessage {
  return {
    messageId: text(frame["message_id"]),
    seq: number(frame["seq"]),
    sender: senderOf(frame),
    recipientId: text(frame["recipient_id"]),
    content: fromBase64(text(frame["encrypted_content"])),
    createdAt: text(frame["created_at"]),
  };
}

export function incomingSignal(frame: Frame): IncomingSignal {
  return {
    kind: frame.type as SignalKind,
    ...(frame.id === undefined ? {} : { id: frame.id }),
    sender: senderOf(frame),
    payload: frame["payload"] as Json,
    timestamp: text(frame.timestamp),
  };
}

/** The members of a frame under the names that JavaScript uses; without the envelope. */
export function members<T>(frame: Frame): T {
  const { type: _type, id: _id, timestamp: _timestamp, ...rest } = frame;
  return camel(rest) as T;
}

function camel(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camel);
  if (typeof value !== "object" || value === null) return value;
  const renamed = Object.entries(value).map(([name, inner]) => [
    name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    name === "payload" ? inner : camel(inner),
  ]);
  return Object.fromEntries(renamed) as unknown;
}

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

export function fromBase64(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
