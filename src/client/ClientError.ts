/**
 * What can go wrong for a client. What the server refuses is a `ProtocolError`, with the code that it gave.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import type { Publication, StreamPosition } from "../channels/Publication.js"

/**
 * The client is disconnected for good: it was refused, or told to go, or its scope has closed.
 *
 * `code`: from 3000 that of the server's close, from 100 to 1999 that of its answer to connecting, and below 100 the
 * SDK's own: 0 the scope has closed, 1 unauthorized, 2 a broken protocol, 3 a message too large, 12 a wrong option.
 *
 * @since 1.0.0
 * @category errors
 */
export class ConnectionError extends Data.TaggedError("ConnectionError")<{
  readonly code: number
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `The client is disconnected: ${this.reason} (${this.code}).`
  }
}

/**
 * What `getToken` fails with to give up: there will be no token. Any other failure is tried again after a pause.
 *
 * @since 1.0.0
 * @category errors
 */
export class Unauthorized extends Data.TaggedError("Unauthorized")<{
  readonly cause?: unknown
}> {
  override get message() {
    return "There is no token to be had."
  }
}

/**
 * A request has no answer: none came in time (`code` 1), or the connection went first (11). Whether the server did what
 * it was asked for is not known. With code 10 it could not be sent.
 *
 * @since 1.0.0
 * @category errors
 */
export class Unanswered extends Data.TaggedError("Unanswered")<{
  readonly code: number
  readonly reason: string
}> {
  override get message() {
    return `The request has no answer: ${this.reason} (${this.code}).`
  }
}

/**
 * The subscription has ended: the server took it (`code` from 2000), or there is no token for it (1).
 *
 * @since 1.0.0
 * @category errors
 */
export class Unsubscribed extends Data.TaggedError("Unsubscribed")<{
  readonly channel: string
  readonly code: number
  readonly reason: string
  readonly cause?: unknown
}> {
  override get message() {
    return `No longer subscribed to ${this.channel}: ${this.reason} (${this.code}).`
  }
}

/**
 * A reader did not keep up: more waited for it than its buffer holds. What was in the buffer was read; nothing after it.
 *
 * @since 1.0.0
 * @category errors
 */
export class SlowReader extends Data.TaggedError("SlowReader")<{
  readonly bufferSize: number
}> {
  override get message() {
    return `The reader is too slow: more than ${this.bufferSize} events waited for it.`
  }
}

/**
 * Something is missing here. `not-recovered`: the client was away, and the server has no longer all that it missed, or
 * keeps no history of the channel. `overflow`: the reader's buffer was full.
 *
 * It is an event, and what the streams that have no events fail with.
 *
 * @since 1.0.0
 * @category errors
 */
export class Gap extends Data.TaggedError("Gap")<{
  readonly reason: "not-recovered" | "overflow"
  /** How many events are missing, where that is known. */
  readonly lost: number | undefined
  /** Where the channel's stream goes on, where that is known: read the state anew, up to here at least. */
  readonly position: StreamPosition | undefined
}> {
  override get message() {
    return `${this.lost ?? "An unknown number of"} events are missing (${this.reason}).`
  }
}

/**
 * A publication is not as the definition of its channel says: someone published it by name.
 *
 * @since 1.0.0
 * @category errors
 */
export class Malformed extends Data.TaggedError("Malformed")<{
  readonly channel: string
  readonly publication: Publication
  readonly reason: string
}> {
  override get message() {
    return `A publication in ${this.channel} is not as its definition says: ${this.reason}.`
  }
}
