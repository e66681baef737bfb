/**
 * What a connection needs of a socket.
 *
 * @since 1.0.0
 */
import type * as Option from "effect/Option"
import type { CloseReason } from "./CloseReason.js"
import type { Batch, Message } from "./Frame.js"

/**
 * What is known of a peer from its handshake.
 *
 * @since 1.0.0
 * @category models
 */
export interface Handshake<out P = unknown> {
  /** Path and query of the request. */
  readonly url: string
  /** Request headers by lower-case name. */
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  /** The peer's address, as the upgrade saw it (behind trusted proxies: the address they forwarded). */
  readonly remoteAddress: Option.Option<string>
  /** The subprotocol that was agreed on (RFC 6455 §1.9). */
  readonly subprotocol: Option.Option<string>
  /** What authorisation yielded. */
  readonly principal: P
}

/**
 * What a transport tells its connection. Every function returns at once and never throws.
 *
 * @since 1.0.0
 * @category models
 */
export interface TransportEvents {
  /** One whole message. */
  readonly onMessage: (message: Message) => void
  /** The peer answered a ping. */
  readonly onPong: () => void
  /** What was written has left: `write` may be called again after it returned `false`. */
  readonly onDrain: () => void
  /** The peer closed or broke the protocol, or the socket broke. No message comes after this. */
  readonly onEnd: (reason: CloseReason) => void
  /** The socket is gone and nothing of it is left. The last event, and exactly once. */
  readonly onGone: () => void
}

/**
 * A stream of bytes, as a transport writes to. Node's `Writable` is one.
 *
 * @since 1.0.0
 * @category models
 */
export interface ByteStream {
  /** Returns `false` if the stream holds more than it wants to. Never throws, and calls nobody back. */
  readonly write: (bytes: Uint8Array) => boolean
  /** Bytes that the stream holds. */
  readonly writableLength: number
}

/**
 * Writes to the stream. Returns whether the peer keeps up: a stream that has passed on all it was given is not behind,
 * though that was more than it likes to hold.
 *
 * @internal
 */
export const writeTo = (stream: ByteStream, bytes: Uint8Array): boolean =>
  stream.write(bytes) || stream.writableLength === 0

/**
 * One established, bidirectional connection to a peer, as the hub uses it. All functions return at once and none of
 * them throws; what goes wrong is told through {@link TransportEvents}.
 *
 * @since 1.0.0
 * @category models
 */
export interface Transport<out P = unknown> {
  readonly handshake: Handshake<P>
  /** Begins to deliver events, those from before the call first. The hub calls it once. */
  readonly open: (events: TransportEvents) => void
  /**
   * Writes the batch. Returns `false` if the peer does not keep up: then `onDrain` follows. Frames that are lost after this,
   * as the socket breaks, are the transport's to count (`HubMetrics.undelivered`).
   */
  readonly write: (batch: Batch) => boolean
  /**
   * The stream that `write` would write the bytes of a batch to, and nothing else, if there is one now: for a fan-out,
   * which then writes to it straight, once and at once. Its `onDrain` is the transport's.
   */
  readonly stream: () => ByteStream | undefined
  /** Bytes that were written and have not left yet. */
  readonly bufferedBytes: () => number
  /** Stops reading from the peer, which makes it stop sending in the end. A few messages may still come. */
  readonly pause: () => void
  readonly resume: () => void
  readonly ping: () => void
  /** Sends a close frame, after what was written, and awaits the peer's. Later calls do nothing. */
  readonly close: (code: number, reason: string) => void
  /** Destroys the socket now. */
  readonly terminate: () => void
}
