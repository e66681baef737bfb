/**
 * A socket in memory, and the peer at its other end. Nothing in it waits for time.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { CloseCode, CloseReason, isSendable, reasons, truncate } from "../core/CloseReason.js"
import type { Batch, Message } from "../core/Frame.js"
import { Signal } from "../core/Signal.js"
import type { Handshake, Transport, TransportEvents } from "../core/Transport.js"

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
 * A close frame as the peer saw it. 1005: one without a code; 1006: the socket went away without one.
 *
 * @since 1.0.0
 * @category models
 */
export interface CloseFrame {
  readonly code: number
  readonly reason: string
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
 * What happened to a transport so far, to find what is done twice, too late or never.
 *
 * @since 1.0.0
 * @category models
 */
export interface Counters {
  /** Calls of `open`. */
  readonly opened: number
  /** Calls of `close` by the hub. */
  readonly closed: number
  /** Calls of `terminate` by the hub. */
  readonly terminated: number
  /** Close frames put on the wire, by the hub or as the socket's own answer. */
  readonly closeFrames: number
  /** Writes after the hub's own `close`. */
  readonly writesAfterClose: number
  /** Bytes that were not the unmasked, unfragmented data frames of a server. */
  readonly malformed: number
  readonly paused: number
  readonly resumed: number
  readonly pings: number
  /** Listeners on the socket: 1 from `open` until it is gone. */
  readonly listeners: number
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

type Inbound =
  | { readonly _tag: "Message"; readonly message: Message }
  | { readonly _tag: "Pong" }
  | { readonly _tag: "End"; readonly reason: CloseReason }

type Outbound =
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "Ping" }
  | { readonly _tag: "Close"; readonly frame: CloseFrame }

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** What happens in a real socket's own time happens here after the current step. */
const later = (f: () => void): void => queueMicrotask(f)

/** Both directions of one socket. */
class Socket {
  readonly messages: Array<Message> = []
  readonly changed = new Signal()
  readonly counters: Mutable<Counters> = {
    opened: 0,
    closed: 0,
    terminated: 0,
    closeFrames: 0,
    writesAfterClose: 0,
    malformed: 0,
    paused: 0,
    resumed: 0,
    pings: 0,
    listeners: 0
  }
  /** Bytes written that the peer has not read. */
  buffered = 0
  /** The close frame that the peer saw. */
  closeFrame: CloseFrame | undefined = undefined
  gone = false
  answersPings = true
  answersClose = true
  private events: TransportEvents | undefined = undefined
  private inbound: Array<Inbound> = []
  private outbound: Array<Outbound> = []
  private hubReads = true
  /** Messages that still come while the hub does not read. */
  private allowance = 0
  private peerReads = true
  private owesDrain = false
  /** The end that the hub is told, or was. */
  private end: CloseReason | undefined = undefined
  private closeSent = false
  private readonly highWaterMark: number
  private readonly overshoot: number

  constructor(highWaterMark: number, overshoot: number) {
    this.highWaterMark = highWaterMark
    this.overshoot = overshoot
  }

  // --- to the peer

  write(bytes: Uint8Array): boolean {
    if (this.counters.closed > 0) this.counters.writesAfterClose++
    if (this.closeSent || this.gone) return true
    this.buffered += bytes.byteLength
    this.outbound.push({ _tag: "Bytes", bytes })
    this.deliverOutbound()
    if (this.buffered === 0 || this.buffered < this.highWaterMark) return true
    this.owesDrain = true
    return false
  }

  ping(): void {
    if (this.closeSent || this.gone) return
    this.counters.pings++
    this.outbound.push({ _tag: "Ping" })
    this.deliverOutbound()
  }

  sendClose(frame: CloseFrame): void {
    if (this.closeSent || this.gone) return
    this.closeSent = true
    this.counters.closeFrames++
    this.outbound.push({ _tag: "Close", frame })
    this.deliverOutbound()
  }

  setPeerReads(reads: boolean): void {
    this.peerReads = reads
    this.deliverOutbound()
  }

  private deliverOutbound(): void {
    while (this.peerReads && !this.gone) {
      const item = this.outbound.shift()
      if (item === undefined) break
      if (item._tag === "Bytes") {
        this.buffered -= item.bytes.byteLength
        this.decode(item.bytes)
      } else if (item._tag === "Ping") {
        if (this.answersPings) later(() => this.arrive({ _tag: "Pong" }))
      } else {
        this.closeFrame = item.frame
        if (this.answersClose) later(() => this.answered(item.frame))
      }
    }
    if (this.owesDrain && this.buffered === 0) {
      this.owesDrain = false
      later(() => !this.gone && this.events?.onDrain())
    }
    this.changed.notify()
  }

  private decode(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    while (at < bytes.byteLength) {
      const opcode = bytes[at]
      const short = bytes[at + 1] ?? 255
      const start = at + (short === 127 ? 10 : short === 126 ? 4 : 2)
      if (opcode !== 0x81 && opcode !== 0x82 || short > 127 || start > bytes.byteLength) break
      const size = short === 127 ? Number(view.getBigUint64(at + 2)) : short === 126 ? view.getUint16(at + 2) : short
      if (start + size > bytes.byteLength) break
      at = start + size
      this.messages.push(opcode === 0x82 ? bytes.slice(start, at) : new TextDecoder().decode(bytes.subarray(start, at)))
    }
    if (at < bytes.byteLength) this.counters.malformed += bytes.byteLength - at
  }

  /** The peer has answered the close frame, and the socket comes to its end. */
  private answered(frame: CloseFrame): void {
    this.conclude(new CloseReason({ by: "peer", ...frame }))
    this.destroy()
  }

  // --- to the hub

  open(events: TransportEvents): void {
    this.counters.opened++
    this.counters.listeners = this.gone ? 0 : 1
    this.events = events
    if (this.end !== undefined) events.onEnd(this.end)
    if (this.gone) events.onGone()
    else this.deliverInbound()
  }

  setHubReads(reads: boolean): void {
    this.hubReads = reads
    this.allowance = this.overshoot
    if (reads) later(() => this.deliverInbound())
  }

  arrive(item: Inbound): void {
    if (this.end !== undefined || this.gone) return
    this.inbound.push(item)
    this.deliverInbound()
  }

  private deliverInbound(): void {
    while (this.events !== undefined && this.end === undefined) {
      if (!this.hubReads && this.allowance === 0) return
      const item = this.inbound.shift()
      if (item === undefined) return
      if (!this.hubReads) this.allowance--
      if (item._tag === "Message") this.events.onMessage(item.message)
      else if (item._tag === "Pong") this.events.onPong()
      else {
        const { code, reason } = item.reason
        this.conclude(item.reason)
        // The socket answers by itself. If the hub's frame was first, this was the answer to it.
        if (this.closeSent) later(() => this.destroy())
        else this.sendClose({ code, reason: item.reason.by === "peer" ? reason : "" })
      }
    }
  }

  private conclude(reason: CloseReason): void {
    if (this.end !== undefined) return
    this.end = reason
    this.inbound = []
    this.events?.onEnd(reason)
  }

  /** The socket is gone: by the peer's reset, by the hub's `terminate`, or because both have closed. */
  destroy(): void {
    if (this.gone) return
    this.conclude(reasons.transport)
    this.gone = true
    this.outbound = []
    this.buffered = 0
    this.closeFrame ??= { code: CloseCode.abnormal, reason: "" }
    this.counters.listeners = 0
    this.events?.onGone()
    this.changed.notify()
  }
}

/** @internal */
export const unsafeMake = <P>(options: Options<P>): TestTransport<P> => {
  const socket = new Socket(options.highWaterMark ?? 16384, options.overshoot ?? 0)
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
    write: (batch: Batch) => socket.write(batch.bytes),
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
      later(() => socket.destroy())
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
