export { Client, PresenceOfClient, connect, open } from "./client.js";
export type { ClientEvents, Credentials, IncomingCall, Mailbox, MailboxOptions, Options, Target, Why } from "./client.js";
export type { ConnectionState, SessionInfo, TokenReason } from "./state.js";
export {
  AldisError, CallError, ConnectionError, EnvironmentError, ListenerError, OptionError, RequestError, SignedOutError,
  StorageError, TokenError,
} from "./errors.js";
export type { Failure } from "./errors.js";
export type { Unsubscribe } from "./emitter.js";
export { Account } from "./account.js";
export type { AccountOptions, Device, TotpFunction } from "./account.js";
export { generateKey, keyOf, storedKey } from "./keys.js";
export type { Key, StoredKey } from "./keys.js";
export { WebSocketManager } from "./manager.js";
export type { ManagerEvents, ManagerOptions, ManagerState } from "./manager.js";
export { browserStorage, memoryStorage } from "./storage.js";
export type { KeyValueStorage } from "./storage.js";
export { Call } from "./rtc.js";
export type { CallEvents } from "./rtc.js";
export { Room } from "./room.js";
export type { History, RoomBroadcast, RoomEvents, RoomMember, RoomMembers } from "./room.js";
export type { TokenFunction } from "./tokens.js";
export type {
  Frame, IceServer, IncomingSignal, Json, MailboxMessage, Presence, Receipt, RoomMessage, Sender, SignalKind,
} from "./wire.js";
/** @internal */
export { usePlatform } from "./platform.js";
