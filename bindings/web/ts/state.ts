/** Where a client stands. */
export type ConnectionState = "connecting" | "authenticating" | "connected" | "reconnecting" | "closed";

/** Why a token is asked for. `expiring`: nothing is interrupted yet. `expired`, `invalid`: the last one was refused. */
export type TokenReason = "first" | "reconnecting" | "expiring" | "expired" | "invalid";

/** Who and what the client is to the server. */
export interface SessionInfo {
  readonly id: string;
  readonly userId: string;
  readonly deviceId: string;
  /** Whether the last break lost nothing. */
  readonly resumed: boolean;
  /** When the token ends that opened the session. */
  readonly expiresAt?: string;
}
