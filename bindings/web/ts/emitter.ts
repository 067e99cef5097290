import { ListenerError, failure, textOf } from "./errors.js";

/** Takes a listener away again. */
export type Unsubscribe = () => void;

/** Listeners by event. One that throws stops neither the others nor the client. */
export class Emitter<Events extends Record<string, unknown[]>> {
  readonly #listeners = new Map<keyof Events, Set<(...values: never[]) => unknown>>();
  readonly #report: (error: ListenerError) => void;

  constructor(report: (error: ListenerError) => void) {
    this.#report = report;
  }

  on<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => unknown): Unsubscribe {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends keyof Events>(name: Name, ...values: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      call(() => (listener as (...values: Events[Name]) => unknown)(...values), this.#report);
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}

/** Calls an application's function. What it throws, and what its promise rejects with, is reported. */
function call(listener: () => unknown, report: (error: ListenerError) => void): void {
  const failed = (error: unknown): void => {
    report(new ListenerError(failure("listener_failed", `a listener threw: ${textOf(error)}`), error));
  };
  try {
    const result = listener();
    if (result instanceof Promise) result.catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** For errors that nobody listens to: the page's own handler of errors, else the console. */
export function reportUnheard(error: unknown): void {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else console.error(error);
}
