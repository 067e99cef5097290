/** Locks by name: over all tabs where there are Web Locks, else within this program. */

const here = new Map<string, Promise<unknown>>();

/** Runs something while no other tab does. */
export function exclusively<T>(name: string, act: () => Promise<T>): Promise<T> {
  const locks = webLocks();
  if (locks !== undefined) return locks.request(name, act) as Promise<T>;
  const run = (here.get(name) ?? Promise.resolve()).then(act, act);
  here.set(name, run.catch(() => undefined));
  return run;
}

/**
 * Waits for a lock and holds it until `signal` aborts. `taken` is called when it is held, unless that never happens.
 * Without Web Locks there are no other tabs to share with.
 */
export function hold(name: string, signal: AbortSignal, taken: () => void): void {
  const locks = webLocks();
  if (locks === undefined) return taken();
  const held = (): Promise<void> =>
    new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve());
      taken();
    });
  // Rejects only when the signal aborts the wait.
  locks.request(name, { signal }, held).catch(() => undefined);
}

/** Takes the lock at once if it is free, and holds it until `signal` aborts. */
export function tryHold(name: string, signal: AbortSignal): Promise<boolean> {
  const locks = webLocks();
  if (locks === undefined) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = (lock: unknown): Promise<void> | undefined => {
      resolve(lock !== null);
      if (lock === null) return undefined;
      return new Promise((release) => signal.addEventListener("abort", () => release()));
    };
    locks.request(name, { ifAvailable: true }, held).catch(() => resolve(false));
  });
}

function webLocks(): LockManager | undefined {
  return globalThis.navigator?.locks as LockManager | undefined;
}
