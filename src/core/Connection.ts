/**
 * One peer, as its handler and the application see it.
 *
 * @since 1.0.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CloseReason, CloseWith } from "./CloseReason.js"
import type * as Frame from "./Frame.js"
import type { ConnectionClosed } from "./HubError.js"
import type { Handshake } from "./Transport.js"

/**
 * One peer, as its handler and the application see it. All operations are safe at any time: once the peer is gone or was
 * sent a close frame `send` returns `false`, and after the end `join` does nothing.
 *
 * @since 1.0.0
 * @category models
 */
export interface Connection<out P = unknown> {
  /** Unique within the hub, never used twice. */
  readonly id: number
  readonly handshake: Handshake<P>
  /**
   * Closed when the handler has ended and the socket is gone, with the exit of the handler: for what must be cleaned up
   * after that.
   */
  readonly scope: Scope.Scope
  /**
   * Received messages in order; ends when no more will come. Messages that arrived before the peer left are still
   * delivered.
   */
  readonly messages: Stream.Stream<Frame.Message>
  /** The next message. Fails with `ConnectionClosed` when no more will come. */
  readonly take: Effect.Effect<Frame.Message, ConnectionClosed>
  /**
   * Runs an effect for one message after the other until no more will come: the cheapest way to read. Effects run in the
   * fiber that runs this. `f` itself may be called in the socket's event, outside of any fiber; where it returns
   * `Effect.void`, and no other effect that does nothing, the fiber does not wake at all. What it throws is a defect.
   */
  readonly runForEach: <E, R>(
    f: (message: Frame.Message) => Effect.Effect<unknown, E, R>
  ) => Effect.Effect<void, E, R>
  /** Takes and drops all messages until no more will come: what a handler that only sends ends with. */
  readonly discard: Effect.Effect<void>
  /**
   * Sends to this peer, after what was sent before; unlike what `hub.send` and `publish` send, it does not wait for the
   * greeting, of which it is part. Returns whether the message was accepted: not if the outbox is full, the socket is gone,
   * or the close frame comes next. After an end that the hub or the application decided, and before the close frame, it still
   * is, and goes out as far as the rest of the outbox does. Never waits for the peer.
   */
  readonly send: (message: Frame.Message | Frame.Frame) => Effect.Effect<boolean>
  /** As `send`, for synchronous code such as callbacks. */
  readonly unsafeSend: (message: Frame.Message | Frame.Frame) => boolean
  /**
   * Writes what was sent in this turn, and completes when the socket has taken all, or is gone. For those who send much:
   * with it between messages no outbox overflows, and the peer sets the pace.
   */
  readonly flush: Effect.Effect<void>
  readonly join: (topic: string) => Effect.Effect<void>
  readonly leave: (topic: string) => Effect.Effect<void>
  /** Ends the connection: its handler is interrupted, what was sent is flushed, then the close frame goes out. */
  readonly close: (reason?: CloseWith) => Effect.Effect<void>
  /** As `close`, for synchronous code such as callbacks. */
  readonly unsafeClose: (reason?: CloseWith) => void
  /** Why the connection ended, once nothing is left of it. */
  readonly closed: Effect.Effect<CloseReason>
}
