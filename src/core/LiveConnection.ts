/**
 * The implementation of a connection: what its handler and the hub use, its handler's fiber, and its end.
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
import { CloseCode, CloseReason, type CloseWith, type CloseWords, reworded } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import * as Frame from "./Frame.js"
import type { Host } from "./Host.js"
import { type ConnectionClosed, Disconnect } from "./HubError.js"
import * as HubMetrics from "./HubMetrics.js"
import { within } from "./Signal.js"
import { Traffic } from "./Traffic.js"
import type { Handshake, Transport } from "./Transport.js"

/** Runs the handler in a fiber of its own, which starts after the caller's turn. */
type Start<P> = (connection: LiveConnection<P>) => Fiber.RuntimeFiber<unknown, unknown>

/** Ends after which the handler may finish with what was received, instead of being interrupted at once. */
const graceful = new Set<CloseReason["by"]>(["peer", "transport", "protocol", "heartbeat", "slow-consumer", "drain"])

/** Ends after which nothing more can be, or shall be, written. */
const unflushed = new Set<CloseReason["by"]>(["peer", "transport", "protocol", "heartbeat", "slow-consumer"])

/**
 * The implementation. Its parts exist before its fiber starts, and one protocol ends it, whoever asks.
 *
 * @internal
 */
export class LiveConnection<out P = unknown> extends Traffic implements Connection<P> {
  readonly id: number
  readonly handshake: Handshake<P>
  private handlerDone = false
  private interrupted = false
  private isCutOff = false
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
    super(host, transport, scope)
    this.id = id
    this.handshake = transport.handshake
    this.closeWith = closeWith
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
    if (this.gone || this.status._tag === "Sealed" || this.status._tag === "Closed") return false
    const frame = Frame.make(message)
    if (!this.outbox.offerNow(frame)) return false
    HubMetrics.messagesOut.unsafeUpdate(1, [])
    HubMetrics.bytesOut.unsafeUpdate(frame.size, [])
    return true
  }

  get flush(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.outbox.flush()
      return this.changed.until(() => !this.outbox.isBehind || this.gone)
    })
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

  /** For a connection that takes too long to end: its socket is destroyed, and its handler interrupted. */
  terminate(): void {
    this.isCutOff = true
    this.transport.terminate()
    this.changed.notify()
  }

  protected tellOverflow(): void {
    this.host.onOverflow(this)
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
      yield* this.within(() => this.handlerDone || this.isCutOff)
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
      Scope.close(this.scope, this.fiber.unsafePoll() ?? Exit.void),
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
}
