import { EventEmitter } from 'node:events';

/** Events as listeners and as async iterators. An iterator sees what happens after it was made. */
export class EventHub<Event extends { readonly type: string }> {
  readonly #emitter = new EventEmitter({ captureRejections: false });
  readonly #heeded: (isHeeded: boolean) => void;
  #isHeeded = false;
  #closed = false;

  /** @param heeded - called when somebody begins to listen, and when nobody does any more */
  constructor(heeded: (isHeeded: boolean) => void = () => {}) {
    this.#heeded = heeded;
    // Any number may listen; Node's warning is for forgotten ones of a single object.
    this.#emitter.setMaxListeners(0);
  }

  on<Type extends Event['type']>(type: Type, listener: (event: Extract<Event, { type: Type }>) => void): void {
    this.#emitter.on(type, listener);
    this.#count();
  }

  off<Type extends Event['type']>(type: Type, listener: (event: Extract<Event, { type: Type }>) => void): void {
    this.#emitter.off(type, listener);
    this.#count();
  }

  /** Nothing, after the end. What a listener throws is an uncaught exception, not the failure of whatever was going on. */
  emit(event: Event): void {
    if (this.#closed) return;
    for (const name of [event.type, ANY])
      for (const listener of this.#emitter.listeners(name))
        try {
          listener(event);
        } catch (error) {
          process.nextTick(() => {
            throw error;
          });
        }
  }

  /** Ends all iterators. */
  close(): void {
    this.#closed = true;
    this.#emitter.emit(END);
    this.#emitter.removeAllListeners();
    this.#count();
  }

  /** Does anybody listen? */
  get isHeeded(): boolean {
    return this.#isHeeded;
  }

  #count(): void {
    const isHeeded = !this.#closed && this.#emitter.eventNames().some((name) => name !== END);
    if (isHeeded === this.#isHeeded) return;
    this.#isHeeded = isHeeded;
    this.#heeded(isHeeded);
  }

  /** Listens from now on, also before the first event is asked for, until the end or the signal. */
  iterate(signal?: AbortSignal): AsyncGenerator<Event, void, undefined> {
    const queue: Event[] = [];
    let ended = this.#closed;
    let wake = () => {};
    const onEvent = (event: Event) => {
      queue.push(event);
      wake();
    };
    const onEnd = () => {
      ended = true;
      wake();
    };
    this.#emitter.on(ANY, onEvent).on(END, onEnd);
    this.#count();
    const stopListening = () => {
      this.#emitter.off(ANY, onEvent).off(END, onEnd);
      this.#count();
    };
    // Also when nobody has asked for the first one, and the generator has not begun.
    const onAbort = () => {
      stopListening();
      onEnd();
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
    return (async function* () {
      try {
        for (;;) {
          const event = queue.shift();
          if (event) yield event;
          else if (ended) return;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        stopListening();
        signal?.removeEventListener('abort', onAbort);
      }
    })();
  }
}

const ANY = Symbol('any event');
const END = Symbol('end');
