/**
 * What a connection received and its handler has not taken yet: a plain array and a wake-up.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { CloseReason } from "./CloseReason.js"
import type { Message } from "./Frame.js"
import { ConnectionClosed } from "./HubError.js"
import { Signal } from "./Signal.js"

const none: Array<Message> = []

/** What a message costs beside its content, so that a flood of empty ones is bounded too. */
const overhead = 32

/**
 * A first-in, first-out queue between the socket's events and the reading fiber. The bound is kept by whoever offers:
 * it pauses the socket while `bytes` is too high, and `onTaken` tells it when to look again.
 *
 * @internal
 */
export class Inbox {
  /** Received and not taken: bytes of binary messages, UTF-16 units of text, and a little for each message. */
  bytes = 0
  /** Why no more comes. */
  ended: CloseReason | undefined = undefined
  private messages = none
  private head = 0
  private readonly changed = new Signal()
  private readonly events: { readonly onTaken: () => void }

  constructor(events: { readonly onTaken: () => void }) {
    this.events = events
  }

  private get isEmpty(): boolean {
    return this.head === this.messages.length
  }

  /** Messages received and not taken. */
  get size(): number {
    return this.messages.length - this.head
  }

  offer(message: Message): void {
    this.bytes += message.length + overhead
    if (this.messages === none) this.messages = [message]
    else this.messages.push(message)
  }

  /** Wakes the reader, after an offer. */
  wake(): void {
    this.changed.notify()
  }

  /** No more will come; what is there can still be taken. */
  end(reason: CloseReason): void {
    this.ended ??= reason
    this.changed.notify()
  }

  private poll(): Message | undefined {
    if (this.isEmpty) return undefined
    const message = this.messages[this.head++]
    if (this.isEmpty) {
      this.messages = none
      this.head = 0
    } else if (this.head === 1024) {
      this.messages = this.messages.slice(this.head)
      this.head = 0
    }
    if (message !== undefined) this.bytes -= message.length + overhead
    this.events.onTaken()
    return message
  }

  private get ready(): Effect.Effect<void> {
    return this.changed.next(() => !this.isEmpty || this.ended !== undefined)
  }

  get take(): Effect.Effect<Message, ConnectionClosed> {
    return Effect.suspend(() => {
      const message = this.poll()
      if (message !== undefined) return Effect.succeed(message)
      return this.ended === undefined
        ? Effect.flatMap(this.ready, () => this.take)
        : Effect.fail(new ConnectionClosed({ reason: this.ended }))
    })
  }

  /** Runs `f` for one message after the other, in one fiber, until no more will come. */
  runForEach<E, R>(f: (message: Message) => Effect.Effect<unknown, E, R>): Effect.Effect<void, E, R> {
    return Effect.whileLoop<unknown, E, R>({
      while: () => !this.isEmpty || this.ended === undefined,
      body: () => {
        const message = this.poll()
        return message === undefined ? this.ready : f(message)
      },
      step: () => {}
    })
  }
}
