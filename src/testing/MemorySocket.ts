/**
 * Both directions of a socket in memory.
 *
 * @since 1.0.0
 */
import { CloseCode, CloseReason, reasons } from "../core/CloseReason.js"
import type { Message } from "../core/Frame.js"
import { Signal } from "../core/Signal.js"
import type { ByteStream, TransportEvents } from "../core/Transport.js"

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

/** @internal */
export class MemorySocket implements ByteStream {
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

  get writableLength(): number {
    return this.buffered
  }

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
