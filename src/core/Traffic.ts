/**
 * What passes between a connection and its socket, in both directions.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type CloseReason, reasons } from "./CloseReason.js"
import type * as Frame from "./Frame.js"
import type { Host } from "./Host.js"
import * as HubMetrics from "./HubMetrics.js"
import { Inbox } from "./Inbox.js"
import { Outbox, type OutboxEvents } from "./Outbox.js"
import { Signal } from "./Signal.js"
import type { Transport, TransportEvents } from "./Transport.js"

/** How far the end of a connection has come. */
type Status =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Ended" | "Sealed" | "Closed"; readonly reason: CloseReason }

const open: Status = { _tag: "Open" }

/**
 * The half of a connection that faces its socket: it reads within the limits, writes, and listens for signs of life. A
 * class to extend, not a part of its own: there are as many as connections.
 *
 * @internal
 */
export abstract class Traffic implements TransportEvents, OutboxEvents {
  readonly scope: Scope.CloseableScope
  protected status: Status = open
  protected gone = false
  private paused = false
  private heard = false
  private heardAt: number
  private pingedAt = 0
  private tokens: number
  private refilledAt: number
  private drained = true
  private overflowing = false
  /** Wakes who waits for the end, the socket or the handler. */
  protected readonly changed = new Signal()
  protected readonly inbox: Inbox
  protected readonly outbox: Outbox
  protected readonly host: Host
  protected readonly transport: Transport

  constructor(host: Host, transport: Transport, scope: Scope.CloseableScope) {
    this.host = host
    this.transport = transport
    this.scope = scope
    this.heardAt = this.refilledAt = host.now()
    this.tokens = host.config.messageBurst
    this.inbox = new Inbox(this)
    this.outbox = new Outbox(host.turn, transport, host.config, this)
  }

  abstract end(reason: CloseReason): void

  /** The first frame did not fit since the peer fell behind. */
  protected abstract tellOverflow(): void

  get isOpen(): boolean {
    return this.status._tag === "Open"
  }

  /** Accepts a frame that others sent. Returns whether it was accepted. */
  deliver(frame: Frame.Frame): boolean {
    return this.status._tag === "Open" && this.outbox.offer(frame)
  }

  /** The greeting is done: what others sent meanwhile follows it. */
  greeted(): void {
    this.overflowing = false
    this.outbox.release()
  }

  /**
   * One look of the hub's heartbeat: pings a silent peer, and ends the connection of one that did not answer. While the
   * hub does not read from the socket, silence proves nothing.
   */
  heartbeat(now: number): void {
    if (this.status._tag !== "Open") return
    if (this.heard) {
      this.heard = false
      this.heardAt = now
      this.pingedAt = 0
    } else if (this.pingedAt === 0 || this.paused) {
      // While the hub does not read, a ping gets no answer; but it fails if the peer is gone.
      if (now - Math.max(this.heardAt, this.pingedAt) < this.host.config.heartbeatInterval) return
      this.pingedAt = now
      this.transport.ping()
    } else if (now - this.pingedAt >= this.host.config.heartbeatTimeout) this.end(reasons.heartbeat)
  }

  // --- what the socket tells

  onMessage(message: Frame.Message): void {
    if (this.status._tag !== "Open") return
    this.heard = true
    HubMetrics.messagesIn.unsafeUpdate(1, [])
    HubMetrics.bytesIn.unsafeUpdate(message.length, [])
    if (this.host.config.messagesPerSecond !== Infinity && !this.admit()) return
    this.inbox.offer(message)
    if (!this.paused && this.inbox.bytes >= this.host.config.inboxBytes) {
      this.paused = true
      this.transport.pause()
    }
    if (this.inbox.handle()) this.host.wake.run(this.inbox)
  }

  onPong(): void {
    this.heard = true
  }

  onDrain(): void {
    this.drained = true
    // A peer that reads is there, though its pong waits behind all that was sent before the ping.
    this.heard = true
    this.changed.notify()
  }

  onEnd(reason: CloseReason): void {
    this.end(reason)
  }

  onGone(): void {
    this.gone = true
    this.end(reasons.transport)
    this.changed.notify()
  }

  // --- what its queues tell

  onTaken(): void {
    if (!this.paused || this.inbox.bytes > this.host.config.inboxBytes / 2) return
    this.refill()
    this.paused = false
    this.heard = true
    this.transport.resume()
  }

  /** The write pump: while the peer is behind, a fiber writes the backlog whenever the socket has drained. */
  onBehind(): void {
    this.drained = false
    this.overflowing = false
    const pump = Effect.whileLoop({
      while: () => this.outbox.isBehind && !this.gone,
      body: () => this.changed.until(() => this.drained || this.gone || !this.outbox.isBehind),
      step: () => {
        this.drained = false
        this.outbox.writeBacklog()
      }
    })
    const caughtUp = Effect.sync(() => {
      this.overflowing = false
      this.changed.notify()
    })
    this.host.fork(Effect.zipRight(pump, caughtUp), { scope: this.scope })
  }

  onOverflow(outcome: "dropped" | "disconnected"): void {
    HubMetrics.overflow(outcome).unsafeUpdate(1, [])
    if (!this.overflowing) this.tellOverflow()
    this.overflowing = true
    if (outcome === "disconnected") this.end(reasons.slowConsumer)
  }

  /**
   * Fills the peer's token bucket, up to the burst; and beyond it while the hub does not read, since what the peer sends
   * meanwhile arrives at once when it reads again. That is kept until it is used.
   */
  private refill(): void {
    const { messageBurst, messagesPerSecond } = this.host.config
    const now = this.host.now()
    const most = this.paused ? Infinity : Math.max(messageBurst, this.tokens)
    this.tokens = Math.min(most, this.tokens + (now - this.refilledAt) * messagesPerSecond / 1000)
    this.refilledAt = now
  }

  /** Takes one from the peer's token bucket, or applies the rate limit. */
  private admit(): boolean {
    this.refill()
    if (this.tokens >= 1) {
      this.tokens--
      return true
    }
    HubMetrics.rateLimited.unsafeUpdate(1, [])
    if (this.host.config.rateLimit === "close") this.end(reasons.rateLimit)
    return false
  }
}
