/**
 * A `ws` WebSocket as a transport: the only file that touches the events of `ws`.
 *
 * @since 1.0.0
 */
import type { Duplex } from "node:stream"
import type { RawData, WebSocket } from "ws"
import { CloseCode, CloseReason, isSendable, reasons, truncate } from "../core/CloseReason.js"
import type { Batch, Message } from "../core/Frame.js"
import * as HubMetrics from "../core/HubMetrics.js"
import { type ByteStream, type Handshake, type Transport, type TransportEvents, writeTo } from "../core/Transport.js"
import { SocketStream } from "./SocketStream.js"

/** What `ws` says of a peer that broke the protocol, and the code that it has sent the peer by itself. */
const protocolErrors: Record<string, number> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: CloseCode.messageTooBig,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: CloseCode.messageTooBig,
  WS_ERR_INVALID_UTF8: CloseCode.invalidPayload,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: CloseCode.policyViolation,
  Z_DATA_ERROR: CloseCode.invalidPayload,
  Z_BUF_ERROR: CloseCode.invalidPayload,
  Z_NEED_DICT: CloseCode.invalidPayload
}

/**
 * Wraps an open `ws` socket. `socket` is the stream under it: frames that were encoded once are written to it directly,
 * in one write for all that is due, unless compression was negotiated. Call it in the same turn as the upgrade: from
 * here on no event of the socket goes unheard, and reading waits for `open`.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = <P>(ws: WebSocket, socket: Duplex, handshake: Handshake<P>): Transport<P> => {
  const transport = new NodeTransport(ws, socket, handshake)
  // Whoever opens it at once does not pay for a pause.
  process.nextTick(() => transport.isWaiting && ws.pause())
  return transport
}

/**
 * As `make`, for those who open it in this turn.
 *
 * @internal
 */
export const makeToOpen = <P>(ws: WebSocket, socket: Duplex, handshake: Handshake<P>): Transport<P> =>
  new NodeTransport(ws, socket, handshake)

const unheard: TransportEvents = {
  onMessage: () => {},
  onPong: () => {},
  onDrain: () => {},
  onEnd: () => {},
  onGone: () => {}
}

class NodeTransport<out P> implements Transport<P> {
  readonly handshake: Handshake<P>
  private events: TransportEvents = unheard
  /** What came before `open`: at most what was read with the handshake. */
  private early: Array<Message> | undefined = []
  private end: CloseReason | undefined = undefined
  private gone = false
  /** Compressed messages on their way. */
  private unsent = 0
  /** Whether one of them was too much, so that the drain is to be told: it is a sign of life. */
  private behind = false
  private readonly ws: WebSocket
  private readonly socket: Duplex
  private readonly compressed: boolean
  private readonly frames: SocketStream

  constructor(ws: WebSocket, socket: Duplex, handshake: Handshake<P>) {
    this.ws = ws
    this.socket = socket
    this.handshake = handshake
    this.compressed = ws.extensions !== ""
    this.frames = new SocketStream(socket)
    ws.on("message", (data, isBinary) => {
      const message = isBinary ? bytes(data) : bytes(data).toString()
      if (this.early === undefined) this.events.onMessage(message)
      else this.early.push(message)
    })
    ws.on("pong", () => this.events.onPong())
    ws.on("error", (error: NodeJS.ErrnoException) => this.ended(reasonOf(error)))
    ws.on("close", (code, reason) => this.closed(code, reason))
    // Of compressed messages the socket drains one by one, while the others wait in `ws`.
    if (!this.compressed) socket.on("drain", () => this.events.onDrain())
  }

  get isWaiting(): boolean {
    return this.early !== undefined
  }

  open(events: TransportEvents): void {
    const early = this.early ?? []
    this.early = undefined
    this.events = events
    if (this.ws.isPaused) this.ws.resume()
    for (const message of early) events.onMessage(message)
    if (this.end !== undefined) events.onEnd(this.end)
    if (this.gone) events.onGone()
  }

  private ended(reason: CloseReason): void {
    if (this.end !== undefined) return
    this.end = reason
    this.events.onEnd(reason)
  }

  private closed(code: number, reason: Buffer): void {
    this.ended(
      code === CloseCode.abnormal ? reasons.transport : new CloseReason({ by: "peer", code, reason: reason.toString() })
    )
    this.gone = true
    this.events.onGone()
  }

  private get isOpen(): boolean {
    return this.ws.readyState === this.ws.OPEN && this.socket.writable
  }

  stream(): ByteStream | undefined {
    return !this.isOpen || this.compressed ? undefined : this.frames.ready()
  }

  write(batch: Batch): boolean {
    const stream = this.stream()
    if (stream !== undefined) return writeTo(stream, batch.bytes)
    if (!this.isOpen) {
      // The peer is about to be gone: its close frame was answered by `ws`, or its socket is destroyed.
      HubMetrics.undelivered("out").unsafeUpdate(batch.count, [])
      return true
    }
    this.unsent += batch.count
    for (const frame of batch.frames) this.ws.send(frame.payload, { binary: frame.binary }, this.sent)
    if (this.ws.bufferedAmount >= this.socket.writableHighWaterMark) this.behind = true
    return !this.behind
  }

  /** A compressed message has left, or is lost: tell a connection that waits once all have. */
  private readonly sent = (error?: Error | null): void => {
    if (error || this.socket.destroyed) HubMetrics.undelivered("out").unsafeUpdate(1, [])
    if (--this.unsent > 0 || !this.behind) return
    this.behind = false
    this.events.onDrain()
  }

  bufferedBytes(): number {
    return this.ws.bufferedAmount
  }

  pause(): void {
    this.ws.pause()
  }

  resume(): void {
    this.ws.resume()
  }

  ping(): void {
    this.ws.ping()
  }

  close(code: number, reason: string): void {
    this.ws.resume()
    if (isSendable(code)) this.ws.close(code, truncate(reason))
    else this.ws.close()
  }

  terminate(): void {
    this.ws.terminate()
  }
}

const bytes = (data: RawData): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)

/** Of a peer that broke the protocol, or of a socket that broke. */
const reasonOf = (error: NodeJS.ErrnoException): CloseReason =>
  error.code !== undefined && (error.code in protocolErrors || error.code.startsWith("WS_ERR_"))
    ? new CloseReason({
      by: "protocol",
      code: protocolErrors[error.code] ?? CloseCode.protocolError,
      reason: truncate(error.message)
    })
    : reasons.transport
