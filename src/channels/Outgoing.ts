/**
 * What goes out to one client: replies, those to the commands of one message together, and pushes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../core/Connection.js"
import * as Frame from "../core/Frame.js"
import { answerTooLarge, internalError, type ProtocolError } from "./ProtocolCode.js"
import { bytesOf, isWithin, stringify } from "./ProtocolReply.js"

/** Nothing of what a client is told about itself may be missing: the hub's own policy may be to drop. */
const own = { overflow: "disconnect" } as const

/** UTF-16 units from which on a reply is large, and replies do not wait for each other. */
const large = 16_384

/**
 * The half of a session that faces its client's outbox. A class to extend, not a part of its own: there are as many as
 * sessions.
 *
 * @internal
 */
export abstract class Outgoing {
  readonly connection: Connection
  /** Bytes of the largest document that can be sent: what the outbox holds, but for the header of its frame. */
  readonly mostBytes: number
  /** Replies to the commands of one message, which leave together; `undefined` while there is but one. */
  private batch: Array<string> | undefined = undefined
  /** Of the replies to one message since the client had caught up. */
  private units = 0

  constructor(connection: Connection, outboxBytes: number) {
    this.connection = connection
    this.mostBytes = outboxBytes - 16
  }

  /** Bytes for what the client missed in each of so many subscriptions, of a reply that holds the data of these grants. */
  roomFor(grants: ReadonlyArray<{ readonly data?: unknown }>, shares = 1): number {
    const given = grants.reduce((units, { data }) => units + (stringify(data)?.length ?? 0) * 3 + 512, 512)
    return (this.mostBytes - given) / shares
  }

  /** The error, if a reply with the data of these grants is no JSON, or more than the outbox holds. */
  unsayable(grants: ReadonlyArray<{ readonly data?: unknown }>): ProtocolError | undefined {
    let bytes = 0
    for (const { data } of grants) {
      if (data === undefined) continue
      const text = stringify(data)
      if (text === undefined) return internalError("the data that the application gives to the client is not JSON")
      bytes += 512 + bytesOf(text)
    }
    return bytes <= this.mostBytes ? undefined : answerTooLarge
  }

  /** Sends a document, past the replies that wait. */
  tell(document: string): void {
    this.connection.unsafeSend(Frame.make(document, own))
  }

  /** Sends a document of the protocol. What was said in one message's answer is sent first. */
  push(document: string): void {
    this.flush()
    this.tell(document)
  }

  reply(document: string): void {
    if (this.batch === undefined) return this.tell(document)
    this.units += document.length
    this.batch.push(document)
  }

  /** A reply that may be large: the client sets the pace. One that no outbox holds is error 106 instead. */
  answer(document: string): Effect.Effect<void, ProtocolError> {
    if (document.length < large) return Effect.sync(() => this.reply(document))
    if (!isWithin(this.mostBytes, document)) return Effect.fail(answerTooLarge)
    return Effect.map(this.caughtUp, () => this.reply(document))
  }

  /** Sends the replies so far: before anything that must come after them, or that may take long. */
  flush(): void {
    if (this.batch === undefined || this.batch.length === 0) return
    this.tell(this.batch.join("\n"))
    this.batch = []
  }

  /** Handles one document after the other, and sends the replies together: as long as they are not too much for that. */
  protected together<E>(
    documents: ReadonlyArray<string>,
    handle: (document: string) => Effect.Effect<void, E>
  ): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      this.batch = []
      this.units = 0
      const next = (document: string) =>
        this.units < large
          ? handle(document)
          : Effect.zipRight(this.caughtUp, Effect.suspend(() => handle(document)))
      return Effect.ensuring(
        Effect.forEach(documents, next, { discard: true }),
        Effect.sync(() => {
          this.flush()
          this.batch = undefined
        })
      )
    })
  }

  /** Completes when the client's socket has taken what it was told so far. */
  get caughtUp(): Effect.Effect<void> {
    return Effect.map(this.atLeisure(this.connection.flush), () => {
      this.units = 0
    })
  }

  /** Code of the application may take its time: replies do not wait for it. */
  atLeisure<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.flush()
      return effect
    })
  }
}
