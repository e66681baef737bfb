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

/** A fiber in `runForEach`. While it waits, it need not wake for a message of which nothing is left to do. */
class Reader<E, R> {
  private readonly f: (message: Message) => Effect.Effect<unknown, E, R>
  private left: Effect.Effect<unknown, E, R> = Effect.void
  isHandling = false
  /** Goes on in the fiber. */
  resume: (left: Effect.Effect<unknown, E, R>) => void = () => {}

  constructor(f: (message: Message) => Effect.Effect<unknown, E, R>) {
    this.f = f
  }

  get isDone(): boolean {
    return this.left === Effect.void
  }

  handle(message: Message): void {
    try {
      this.left = this.f(message)
    } catch (defect) {
      this.left = Effect.die(defect)
    }
  }

  wake(): void {
    const { left } = this
    this.left = Effect.void
    this.resume(left)
  }
}

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
  /** Who waits in `runForEach`. */
  private reader: Pick<Reader<never, never>, "isHandling" | "isDone" | "handle" | "wake"> | undefined = undefined
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

  /**
   * After an offer: lets a reader that waits handle it here and now. To wake its fiber for what is done at once would cost
   * more than the rest of a message. Whether somebody must wake.
   */
  handle(): boolean {
    const { reader } = this
    // Who waits for one message takes it before a reader of all.
    if (reader === undefined || this.changed.isAwaited) return true
    // What comes in between is for the loop below, or for its fiber.
    if (reader.isHandling) return false
    reader.isHandling = true
    while (reader.isDone && this.ended === undefined) {
      const message = this.poll()
      if (message === undefined) break
      reader.handle(message)
    }
    reader.isHandling = false
    return !reader.isDone || this.ended !== undefined
  }

  /** Wakes whoever waits; one that is handling a message goes on after that. */
  wake(): void {
    const { reader } = this
    this.changed.notify()
    if (reader === undefined || reader.isHandling) return
    this.reader = undefined
    reader.wake()
  }

  /** No more will come; what is there can still be taken. */
  end(reason: CloseReason): void {
    this.ended ??= reason
    this.wake()
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

  /**
   * Runs `f` for one message after the other until no more will come, and the effects in one fiber. Where `f` returns
   * `Effect.void` there is none to run.
   */
  runForEach<E, R>(f: (message: Message) => Effect.Effect<unknown, E, R>): Effect.Effect<void, E, R> {
    return Effect.suspend(() => {
      const reader = new Reader(f)
      // Not made anew for each message.
      const wait = Effect.async<unknown, E, R>((resume) => {
        if (this.reader !== undefined || !this.isEmpty || this.ended !== undefined) return resume(this.ready)
        reader.resume = resume
        this.reader = reader
      })
      const loop = Effect.whileLoop<unknown, E, R>({
        while: () => !this.isEmpty || this.ended === undefined,
        body: () => {
          const message = this.poll()
          return message === undefined ? wait : f(message)
        },
        step: () => {}
      })
      return Effect.ensuring(
        loop,
        Effect.sync(() => {
          if (this.reader === reader) this.reader = undefined
        })
      )
    })
  }
}
