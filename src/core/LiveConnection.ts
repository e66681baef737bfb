/**
 * The implementation of a connection: its queues, its handler's fiber, its heartbeat, and its end.
 *
 * @since 1.0.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CloseCode, CloseReason, type CloseWith, type CloseWords, reasons, reworded } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import * as Frame from "./Frame.js"
import type { HubConfig } from "./HubConfig.js"
import { type ConnectionClosed, Disconnect } from "./HubError.js"
import * as HubMetrics from "./HubMetrics.js"
import { Inbox } from "./Inbox.js"
import { Outbox, type OutboxEvents } from "./Outbox.js"
import { Signal, within } from "./Signal.js"
import type { Handshake, Transport, TransportEvents } from "./Transport.js"
import type { Turn } from "./Turn.js"
import type { WakeScheduler } from "./Wake.js"

/**
 * What a connection needs of its hub.
 *
 * @internal
 */
export interface Host {
  readonly config: HubConfig
  readonly turn: Turn
  readonly wake: WakeScheduler
  readonly now: () => number
  /** Runs what must not be interrupted before the connection is unregistered, which the hub's scope waits for. */
  readonly run: (effect: Effect.Effect<void>) => void
  /** Runs what may outlive the connection, in the hub's scope. */
  readonly fork: (effect: Effect.Effect<void>, options?: { readonly scope: Scope.Scope }) => void
  readonly join: (connection: LiveConnection, topic: string) => void
  readonly leave: (connection: LiveConnection, topic: string) => void
  /** The connection's end is decided. */
  readonly onEnded: (connection: LiveConnection) => void
  /** Nothing is left of the connection. */
  readonly onClosed: (connection: LiveConnection, reason: CloseReason) => void
  readonly onOverflow: (connection: LiveConnection) => void
}

/** Runs the handler in a fiber of its own, which starts after the caller's turn. */
type Start<P> = (connection: LiveConnection<P>) => Fiber.RuntimeFiber<unknown, unknown>

type Status =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Ended" | "Sealed" | "Closed"; readonly reason: CloseReason }

const open: Status = { _tag: "Open" }

/** Ends after which the handler may finish with what was received, instead of being interrupted at once. */
const graceful = new Set<CloseReason["by"]>(["peer", "transport", "protocol", "heartbeat", "slow-consumer", "drain"])

/** Ends after which nothing more can be, or shall be, written. */
const unflushed = new Set<CloseReason["by"]>(["peer", "transport", "protocol", "heartbeat", "slow-consumer"])

/**
 * The implementation. Its parts exist before its fiber starts, and one protocol ends it, whoever asks.
 *
 * @internal
 */
export class LiveConnection<out P = unknown> implements Connection<P>, TransportEvents, OutboxEvents {
  readonly id: number
  readonly handshake: Handshake<P>
  readonly scope: Scope.CloseableScope
  private status: Status = open
  private gone = false
  private paused = false
  private heard = false
  private heardAt: number
  private pingedAt = 0
  private tokens: number
  private refilledAt: number
  private drained = true
  private overflowing = false
  private handlerDone = false
  private interrupted = false
  private readonly changed = new Signal()
  private readonly inbox: Inbox
  private readonly outbox: Outbox
  private readonly host: Host
  private readonly transport: Transport
  private readonly closeWith: CloseWords | undefined
  private readonly fiber: Fiber.RuntimeFiber<unknown, unknown>

  constructor(
    host: Host,
    id: number,
    transport: Transport<P>,
    scope: Scope.CloseableScope,
    start: Start<P>,
    closeWith: CloseWords | undefined
  ) {
    this.closeWith = closeWith
    this.host = host
    this.id = id
    this.transport = transport
    this.handshake = transport.handshake
    this.scope = scope
    this.heardAt = this.refilledAt = host.now()
    this.tokens = host.config.messageBurst
    this.inbox = new Inbox(this)
    this.outbox = new Outbox(host.turn, transport, host.config, this)
    this.fiber = start(this)
  }

  // --- what the handler and the application use

  get messages(): Stream.Stream<Frame.Message> {
    return Stream.repeatEffectChunkOption(
      Effect.mapBoth(this.inbox.take, { onFailure: () => Option.none<never>(), onSuccess: Chunk.of })
    )
  }

  get take(): Effect.Effect<Frame.Message, ConnectionClosed> {
    return this.inbox.take
  }

  get discard(): Effect.Effect<void> {
    return this.inbox.runForEach(() => Effect.void)
  }

  // Getters, so that `const { send } = connection` and `runForEach(connection.send)` work without a closure per connection.

  get runForEach() {
    return <E, R>(f: (message: Frame.Message) => Effect.Effect<unknown, E, R>): Effect.Effect<void, E, R> =>
      this.inbox.runForEach(f)
  }

  get send() {
    return (message: Frame.Message | Frame.Frame): Effect.Effect<boolean> => Effect.sync(() => this.unsafeSend(message))
  }

  unsafeSend(message: Frame.Message | Frame.Frame): boolean {
    if (this.status._tag === "Sealed" || this.status._tag === "Closed") return false
    const frame = Frame.make(message)
    if (!this.outbox.offerNow(frame)) return false
    HubMetrics.messagesOut.unsafeUpdate(1, [])
    HubMetrics.bytesOut.unsafeUpdate(frame.size, [])
    return true
  }

  get join() {
    return (topic: string): Effect.Effect<void> =>
      Effect.sync(() => this.status._tag === "Open" && this.host.join(this, topic))
  }

  get leave() {
    return (topic: string): Effect.Effect<void> => Effect.sync(() => this.host.leave(this, topic))
  }

  get close() {
    return (reason?: CloseWith): Effect.Effect<void> => Effect.sync(() => this.unsafeClose(reason))
  }

  unsafeClose(reason?: CloseWith): void {
    const { code, reason: text } = new Disconnect(reason ?? { code: CloseCode.normal })
    this.end(new CloseReason({ by: "server", code, reason: text }))
  }

  get closed(): Effect.Effect<CloseReason> {
    return Effect.suspend(() =>
      this.status._tag === "Closed"
        ? Effect.succeed(this.status.reason)
        : Effect.zipRight(this.changed.until(() => this.status._tag === "Closed"), this.closed)
    )
  }

  // --- what the hub uses

  get isOpen(): boolean {
    return this.status._tag === "Open"
  }

  /** Accepts a frame that others sent. Returns whether it was accepted. */
  deliver(frame: Frame.Frame): boolean {
    return this.status._tag === "Open" && this.outbox.offer(frame)
  }

  /** The greeting is done: what others sent meanwhile follows it. */
  greeted(): void {
    this.outbox.release()
  }

  /** Ends the connection. The first reason stands, and the others are ignored. */
  end(why: CloseReason): void {
    if (this.status._tag !== "Open") return
    const reason = this.closeWith === undefined ? why : reworded(why, this.closeWith)
    this.status = { _tag: "Ended", reason }
    this.host.onEnded(this)
    if (!this.handlerDone && !graceful.has(reason.by)) this.interrupt()
    // Besides an interrupt, for a `take` that cannot be interrupted, as in an acquire.
    this.inbox.end(reason)
    if (this.handlerDone) return
    // As a rule the handler has nothing left to do, and ends with its next step: this looks behind that, in the same queue.
    this.host.wake.inner.scheduleTask(() => !this.handlerDone && this.host.fork(this.hurry(reason)), 0)
  }

  /** Destroys the socket, for a connection that takes too long to end. */
  terminate(): void {
    this.transport.terminate()
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
    this.host.wake.run(this.inbox)
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
    this.paused = false
    this.heard = true
    this.transport.resume()
  }

  /** The write pump: while the peer is behind, a fiber writes the backlog whenever the socket has drained. */
  onBehind(): void {
    this.drained = false
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
    if (!this.overflowing) this.host.onOverflow(this)
    this.overflowing = true
    if (outcome === "disconnected") this.end(reasons.slowConsumer)
  }

  // --- the end

  /** The handler's fiber is done, which ends the connection. */
  onHandlerDone(why: CloseReason): void {
    this.handlerDone = true
    this.end(why)
    this.changed.notify()
    if (this.status._tag === "Open") return
    const { reason } = this.status
    const rest = Effect.map(this.closeScope, () => this.unregister(reason))
    if (this.status._tag === "Ended" && this.gone) {
      // Behind a peer that has left there is nothing to wait for.
      this.seal(reason)
      this.abandon()
      this.host.run(rest)
    } else this.host.run(Effect.zipRight(this.closeSocket(reason), rest))
  }

  /** For a handler that does not end at once: it is given time, then interrupted, then the socket waits for it no longer. */
  private hurry(reason: CloseReason): Effect.Effect<void> {
    return Effect.uninterruptible(Effect.gen(this, function*() {
      yield* this.within(() => this.handlerDone)
      if (!this.handlerDone && !this.interrupted) {
        this.interrupt()
        yield* Effect.zipRight(Effect.yieldNow(), this.within(() => this.handlerDone))
      }
      if (!this.handlerDone) yield* this.closeSocket(reason)
    }))
  }

  private interrupt(): void {
    this.interrupted = true
    this.fiber.unsafeInterruptAsFork(FiberId.none)
  }

  /** What was sent is flushed, the peer is told and given time to answer, the socket is destroyed: once, for all who ask. */
  private closeSocket(reason: CloseReason): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      if (this.status._tag === "Ended") {
        this.seal(reason)
        if (!unflushed.has(reason.by)) yield* this.within(() => !this.outbox.isBehind || this.gone)
        this.abandon()
        if (!this.gone) {
          this.transport.close(reason.code, reason.reason)
          yield* this.within(() => this.gone)
          this.transport.terminate()
        }
      }
      yield* this.changed.until(() => this.gone)
    })
  }

  /** From here on nothing more is sent. */
  private seal(reason: CloseReason): void {
    this.status = { _tag: "Sealed", reason }
    this.outbox.flush()
  }

  private abandon(): void {
    const lost = this.outbox.abandon()
    if (lost > 0) HubMetrics.undelivered("out").unsafeUpdate(lost, [])
  }

  private get closeScope(): Effect.Effect<void> {
    return Effect.catchAllCause(
      Scope.close(this.scope, Exit.void),
      (cause) =>
        Effect.logError("A finalizer of a connection failed", cause).pipe(
          Effect.annotateLogs({ package: "effect-ws-hub", connection: this.id })
        )
    )
  }

  private unregister(reason: CloseReason): void {
    if (this.inbox.size > 0) HubMetrics.undelivered("in").unsafeUpdate(this.inbox.size, [])
    this.status = { _tag: "Closed", reason }
    this.host.onClosed(this, reason)
    this.changed.notify()
  }

  /** Waits for the condition, at most the close grace. */
  private within(condition: () => boolean): Effect.Effect<void> {
    return Effect.suspend(() =>
      condition() ? Effect.void : within(this.changed.until(condition), this.host.config.closeGrace)
    )
  }

  /** Takes one from the peer's token bucket, or applies the rate limit. */
  private admit(): boolean {
    const { messageBurst, messagesPerSecond, rateLimit } = this.host.config
    const now = this.host.now()
    this.tokens = Math.min(messageBurst, this.tokens + (now - this.refilledAt) * messagesPerSecond / 1000)
    this.refilledAt = now
    if (this.tokens >= 1) {
      this.tokens--
      return true
    }
    HubMetrics.rateLimited.unsafeUpdate(1, [])
    if (rateLimit === "close") this.end(reasons.rateLimit)
    return false
  }
}
