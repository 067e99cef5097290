/** What every error of this package has. */
export interface Failure {
  /** Why, for programs: a code of the server, or one of this package's own. */
  readonly code: string;
  /** Why, for people. */
  readonly message: string;
  /** Whether the same may succeed later, without anything done about it. */
  readonly isRetryable: boolean;
  /** When to try again, in milliseconds. */
  readonly retryAfter?: number;
  /** Whether a new token, another key or another sign-in is what it takes. */
  readonly needsCredentials?: boolean;
  /** Whether the server has ended the sign-in. */
  readonly endsSignIn?: boolean;
  /** The close code of the connection. */
  readonly closeCode?: number;
  /** The HTTP status of the answer. */
  readonly status?: number;
  /** The rotation that replaced the key and can still be cancelled. */
  readonly rotation?: unknown;
}

/** The base of all errors that this package throws. */
export class AldisError extends Error {
  /** Why, for programs: a code of the server, or one of this package's own. */
  readonly code: string;
  /** Whether the same may succeed later, without anything done about it. */
  readonly retryable: boolean;
  /** When to try again, in milliseconds. */
  readonly retryAfter: number | undefined;
  /** Whether a new token, another key or another sign-in is what it takes. */
  readonly needsCredentials: boolean;

  constructor(failure: Failure, cause?: unknown) {
    super(failure.message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = failure.code;
    this.retryable = failure.isRetryable;
    this.retryAfter = failure.retryAfter;
    this.needsCredentials = failure.needsCredentials ?? false;
  }
}

/** An attempt to connect failed, or a connection ended. */
export class ConnectionError extends AldisError {
  override readonly name: string = "ConnectionError";
  /** The close code, where the server closed. */
  readonly closeCode: number | undefined;

  constructor(failure: Failure, cause?: unknown) {
    super(failure, cause);
    this.closeCode = failure.closeCode;
  }
}

/** A request has no reply, or the server refused it. */
export class RequestError extends AldisError {
  override readonly name: string = "RequestError";
}

/** A token function threw, did not answer in time, or returned something that is no token. */
export class TokenError extends AldisError {
  override readonly name: string = "TokenError";
}

/** The account is signed out: nothing will bring a token again but another sign-in. */
export class SignedOutError extends TokenError {
  override readonly name: string = "SignedOutError";

  constructor(message = "the account is signed out: sign in again") {
    super({ code: "signed_out", message, isRetryable: false, needsCredentials: true });
  }
}

/** A call over HTTP failed, or the server refused it. */
export class CallError extends AldisError {
  override readonly name: string = "CallError";
  /** The HTTP status; none where no answer came. */
  readonly status: number | undefined;

  constructor(failure: Failure, cause?: unknown) {
    super(failure, cause);
    this.status = failure.status;
  }
}

/** Keys or an account could not be stored or read: IndexedDB is missing, forbidden or full, or was cleared. */
export class StorageError extends AldisError {
  override readonly name: string = "StorageError";
}

/** The page or program lacks what this package needs: a secure context, a WebSocket, the WASM file. */
export class EnvironmentError extends AldisError {
  override readonly name: string = "EnvironmentError";
}

/** A listener threw. The client goes on. */
export class ListenerError extends AldisError {
  override readonly name: string = "ListenerError";
}

/** An argument or option is not one that can be used. */
export class OptionError extends AldisError {
  override readonly name: string = "OptionError";
}

/** An error of this package's own making, as data. */
export function failure(code: string, message: string, more: Partial<Failure> = {}): Failure {
  return { code, message, isRetryable: false, ...more };
}

/** What an unknown error says. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
