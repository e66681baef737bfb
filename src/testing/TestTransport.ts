/**
 * A socket in memory, and the peer at its other end. Nothing in it waits for time.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { CloseCode, CloseReason, isSendable, truncate } from "../core/CloseReason.js"
import type { Batch, Message } from "../core/Frame.js"
import { type Handshake, type Transport, writeTo } from "../core/Transport.js"
import { type CloseFrame, type Counters, MemorySocket } from "./MemorySocket.js"

export type {
  /**
   * A close frame as the peer saw it.
   *
   * @since 1.0.0
   * @category models
   */
  CloseFrame,
  /**
   * What happened to a transport so far.
   *
   * @since 1.0.0
   * @category models
   */
  Counters
}

/**
 * What the peer said at its handshake, and how its socket behaves.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options<out P = undefined> {
  /** What authorisation yielded. */
  readonly principal: P
  /** Defaults to `/`. */
  readonly url?: string | undefined
  /** Defaults to none. */
  readonly headers?: Handshake["headers"] | undefined
  /** Defaults to unknown. */
  readonly remoteAddress?: string | undefined
  /** Defaults to none. */
  readonly subprotocol?: string | undefined
  /** While the peer does not read, `write` returns `false` from this many bytes on. Defaults to 16384. */
  readonly highWaterMark?: number | undefined
  /** Messages that still come after the hub has paused the socket, as with real ones. Defaults to 0. */
  readonly overshoot?: number | undefined
}

/**
 * No more messages will come to this peer.
 *
 * @since 1.0.0
 * @category errors
 */
export class PeerClosed extends Data.TaggedError("PeerClosed")<CloseFrame> {
  override get message() {
    return `The peer will receive no more: it was closed with ${this.code}.`
  }
}

/**
 * The far end of a {@link TestTransport}. Each thing it does happens at once, and what follows of it happens while fibers
 * run: wait with `next`, `closed` and `gone`, or with `HubTest.settle`.
 *
 * @since 1.0.0
 * @category models
 */
export interface Peer {
  /** Sends a message, unless the connection is over. While the hub does not read, it waits in the socket. */
  readonly send: (message: Message) => Effect.Effect<void>
  /** Sends a close frame: without a code unless one is given. The socket is gone once it was answered. */
  readonly close: (code?: number, reason?: string) => Effect.Effect<void>
  /** The socket breaks. What was under way is lost in both directions. */
  readonly reset: Effect.Effect<void>
  /** Breaks the protocol, so that the socket answers with this code by itself. Defaults to 1002. */
  readonly protocolError: (code?: number) => Effect.Effect<void>
  /** Stops reading: what is written stays in the socket's buffer. */
  readonly pauseReading: Effect.Effect<void>
  readonly resumeReading: Effect.Effect<void>
  /** Whether it answers pings. It does unless told otherwise. */
  readonly answerPings: (on: boolean) => Effect.Effect<void>
  /** Whether it answers a close frame and lets go of the socket. It does unless told otherwise. */
  readonly answerClose: (on: boolean) => Effect.Effect<void>
  /** All messages so far, in order. */
  readonly received: Effect.Effect<ReadonlyArray<Message>>
  /** The next message that `next` has not yielded yet. Fails when no more will come. */
  readonly next: Effect.Effect<Message, PeerClosed>
  /** Waits for the close frame, or for the end of the socket without one. */
  readonly closed: Effect.Effect<CloseFrame>
  /** Waits until nothing is left of the socket. */
  readonly gone: Effect.Effect<void>
  readonly isGone: Effect.Effect<boolean>
  readonly counters: Effect.Effect<Counters>
}

/**
 * Both ends of a socket: the transport for the hub, and the peer for the test.
 *
 * @since 1.0.0
 * @category models
 */
export interface TestTransport<out P = undefined> {
  readonly transport: Transport<P>
  readonly peer: Peer
}

/** @internal */
export const unsafeMake = <P>(options: Options<P>): TestTransport<P> => {
  const socket = new MemorySocket(options.highWaterMark ?? 16384, options.overshoot ?? 0)
  let yielded = 0

  const transport: Transport<P> = {
    handshake: {
      url: options.url ?? "/",
      headers: options.headers ?? {},
      remoteAddress: Option.fromNullable(options.remoteAddress),
      subprotocol: Option.fromNullable(options.subprotocol),
      principal: options.principal
    },
    open: (events) => socket.open(events),
    stream: () => socket,
    write: (batch: Batch) => writeTo(socket, batch.bytes),
    bufferedBytes: () => socket.buffered,
    pause: () => {
      socket.counters.paused++
      socket.setHubReads(false)
    },
    resume: () => {
      socket.counters.resumed++
      socket.setHubReads(true)
    },
    ping: () => socket.ping(),
    close: (code, reason) => {
      socket.counters.closed++
      socket.sendClose(isSendable(code) ? { code, reason: truncate(reason) } : { code: CloseCode.noStatus, reason: "" })
      socket.setHubReads(true)
    },
    terminate: () => {
      socket.counters.terminated++
      queueMicrotask(() => socket.destroy())
    }
  }

  const closed = Effect.map(
    socket.changed.until(() => socket.closeFrame !== undefined),
    () => socket.closeFrame ?? { code: CloseCode.abnormal, reason: "" }
  )

  const peer: Peer = {
    send: (message) => Effect.sync(() => socket.arrive({ _tag: "Message", message })),
    close: (code = CloseCode.noStatus, reason = "") =>
      Effect.sync(() => socket.arrive({ _tag: "End", reason: new CloseReason({ by: "peer", code, reason }) })),
    reset: Effect.sync(() => socket.destroy()),
    protocolError: (code = CloseCode.protocolError) =>
      Effect.sync(() => {
        const reason = new CloseReason({ by: "protocol", code, reason: "protocol error" })
        socket.arrive({ _tag: "End", reason })
      }),
    pauseReading: Effect.sync(() => socket.setPeerReads(false)),
    resumeReading: Effect.sync(() => socket.setPeerReads(true)),
    answerPings: (on) => Effect.sync(() => void (socket.answersPings = on)),
    answerClose: (on) => Effect.sync(() => void (socket.answersClose = on)),
    received: Effect.sync(() => socket.messages.slice()),
    next: Effect.flatMap(
      socket.changed.until(() => yielded < socket.messages.length || socket.closeFrame !== undefined),
      () => {
        const message = socket.messages[yielded]
        if (message === undefined) return Effect.flatMap(closed, (frame) => Effect.fail(new PeerClosed(frame)))
        yielded++
        return Effect.succeed(message)
      }
    ),
    closed,
    gone: socket.changed.until(() => socket.gone),
    isGone: Effect.sync(() => socket.gone),
    counters: Effect.sync(() => ({ ...socket.counters }))
  }

  return { transport, peer }
}

/**
 * Makes a socket in memory. Hand `transport` to `hub.accept` or `hub.serve`, and act as the peer with `peer`.
 *
 * @since 1.0.0
 * @category constructors
 */
export function make(options?: Omit<Options, "principal">): Effect.Effect<TestTransport>
export function make<P>(options: Options<P>): Effect.Effect<TestTransport<P>>
export function make<P>(options: Partial<Options<P>> = {}): Effect.Effect<TestTransport<P | undefined>> {
  return Effect.sync(() => unsafeMake({ ...options, principal: options.principal }))
}
