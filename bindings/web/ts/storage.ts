import { StorageError, failure, textOf } from "./errors.js";

const STORE = "values";

/** Where keys and accounts are kept. Values are those that can be cloned: objects, bytes, keys of WebCrypto. */
export interface KeyValueStorage {
  get<T>(key: string): Promise<T | undefined>;
  put(key: string, value: unknown): Promise<void>;
  delete(key: string): Promise<void>;
}

/** A storage that ends with the program: for tests, and for bots that sign in at each start. */
export function memoryStorage(): KeyValueStorage {
  const values = new Map<string, unknown>();
  return {
    get: async <T>(key: string) => values.get(key) as T | undefined,
    put: async (key, value) => void values.set(key, value),
    delete: async (key) => void values.delete(key),
  };
}

const databases = new Map<string, Database>();

/** The browser's IndexedDB. */
export function browserStorage(name: string): KeyValueStorage {
  const database = databases.get(name) ?? new Database(name);
  databases.set(name, database);
  return database;
}

/** Values by name in an IndexedDB database. Rejects with a `StorageError` only. */
class Database implements KeyValueStorage {
  readonly #name: string;
  #opening: Promise<IDBDatabase> | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  async get<T>(key: string): Promise<T | undefined> {
    return (await this.#run("readonly", (store) => store.get(key))) as T | undefined;
  }

  async put(key: string, value: unknown): Promise<void> {
    await this.#run("readwrite", (store) => store.put(value, key));
  }

  async delete(key: string): Promise<void> {
    await this.#run("readwrite", (store) => store.delete(key));
  }

  async #run(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => reject(storageError(error));
      try {
        const transaction = database.transaction(STORE, mode, { durability: "strict" });
        const request = act(transaction.objectStore(STORE));
        // A full disk shows when the transaction ends, not when the request does.
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => fail(transaction.error ?? request.error);
      } catch (error) {
        fail(error);
      }
    });
  }

  #open(): Promise<IDBDatabase> {
    this.#opening ??= openDatabase(this.#name).then(
      (database) => {
        const forget = (): void => void (this.#opening = undefined);
        database.onclose = forget;
        database.onversionchange = () => {
          forget();
          database.close();
        };
        return database;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw storageError(error);
      },
    );
    return this.#opening;
  }
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const factory = globalThis.indexedDB as IDBFactory | undefined;
    if (factory === undefined) throw new Error("there is no IndexedDB here");
    const request = factory.open(name, 1);
    request.onupgradeneeded = () => void request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds the database"));
  });
}

function storageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const isFull = error instanceof Error && error.name === "QuotaExceededError";
  const code = isFull ? "storage_full" : "storage_unavailable";
  return new StorageError(failure(code, `the browser's storage failed: ${textOf(error)}`), error);
}
