/** Mutations of the core that break L8 to L12. */
import type { Mutation } from "./mutation.js"

export const bounds: ReadonlyArray<Mutation> = [
  {
    of: "L8",
    what: "the bound of the outbox leaves out the frame being added",
    old: "this.transport.bufferedBytes() - frame.size",
    new: "this.transport.bufferedBytes()",
    file: "test/laws/laws.test.ts",
    test: "an outbox holds its bytes, the frame being added included, and not one more"
  },
  {
    of: "L8",
    what: "tiny frames are not bounded in number",
    old: " || frames.size >= this.mostFrames",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "tiny frames that wait are bounded in number, where their bytes would fit"
  },
  {
    of: "L8",
    what: "a frame that waits keeps the memory that it shares",
    old: "frame.own()",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "a small frame that waits lets go of the memory that it shares with others"
  },
  {
    of: "L8",
    what: "a slow consumer is not disconnected",
    old: `if (outcome === "disconnected") this.end(reasons.slowConsumer)`,
    new: "",
    file: "test/laws/laws.test.ts",
    test: "a slow consumer delays neither the publisher nor the others"
  },
  {
    of: "L8",
    what: "conflation keeps the older message of a key too",
    old: "this.drop(frames, frame.key, conflated)",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "conflate keeps the last of each key while the peer is behind, and disconnects if that is too much"
  },
  {
    of: "L8",
    what: "a full inbox goes on reading",
    old: "if (!this.paused && this.inbox.bytes >= this.host.config.inboxBytes) {",
    new: "if (this.inbox.bytes < 0) {",
    file: "test/laws/laws.test.ts",
    test: "a full inbox stops reading from that socket, until half of it is taken, and loses nothing"
  },
  {
    of: "L8",
    what: "the bucket of messages has no upper limit",
    old: "const most = this.paused ? Infinity : Math.max(messageBurst, this.tokens)",
    new: "const most = Infinity",
    file: "test/laws/laws.test.ts",
    test: "or what is too much is dropped, and the bucket fills with time, no higher than the burst"
  },
  {
    of: "L8",
    what: "one connection too many",
    old: "this.connections.size + others >= connections",
    new: "this.connections.size + others > connections",
    file: "test/laws/laws.test.ts",
    test: "no more connections than the hub or an address may have"
  },
  {
    of: "L8",
    what: "one connection of an address too many",
    old: "(this.addresses.get(remoteAddress.value) ?? 0) >= connectionsPerAddress",
    new: "(this.addresses.get(remoteAddress.value) ?? 0) > connectionsPerAddress",
    file: "test/laws/laws.test.ts",
    test: "no more connections than the hub or an address may have"
  },
  {
    of: "L8",
    what: "heartbeats count while the hub does not read",
    old: "this.pingedAt === 0 || this.paused",
    new: "this.pingedAt === 0",
    file: "test/laws/laws.test.ts",
    test: "while the hub does not read from a socket, silence proves nothing"
  },
  {
    of: "L8",
    what: "a peer that reads is not there",
    old: "all that was sent before the ping. this.heard = true",
    new: "all that was sent before the ping.",
    file: "test/laws/laws.test.ts",
    test: "a peer that reads is there, though its pong is long in coming"
  },
  {
    of: "L8",
    what: "the hub reads the wall clock",
    old: "now: () => Number(clock.unsafeCurrentTimeNanos()) / 1e6",
    new: "now: () => clock.unsafeCurrentTimeMillis()",
    file: "test/laws/laws.test.ts",
    test: "a step of the wall clock ends nobody, and keeps nobody"
  },
  {
    of: "L9",
    what: "the hub closes without a drain",
    old: `Effect.zipRight(drain, Effect.sync(() => events.enter("Closed")))`,
    new: `Effect.sync(() => events.enter("Closed"))`,
    file: "test/laws/laws.test.ts",
    test: "the hub closes within deadline and grace, whatever its peers do"
  },
  {
    of: "L9",
    what: "a drain does not cut off at its deadline",
    old: "if (this.connections.has(connection.id)) connection.terminate()",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "a drain cuts off at its deadline, and not before"
  },
  {
    of: "L9",
    what: "a drain has no pace",
    old: "if (from > 0) yield* Effect.sleep(tick)",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "a drain keeps its pace, tells how many are left, and returns when none is"
  },
  {
    of: "L9",
    what: "what runs before a drain may hold it up",
    old: "config.drainDeadline / 2 )",
    new: "config.drainDeadline * 2\n)",
    file: "test/core/ending.test.ts",
    test: "when what runs before a drain cannot be interrupted: half of the deadline, and every peer is told"
  },
  {
    of: "L9",
    what: "what is pending is not published before some are drained",
    old: "registry.drain(filter, onBatch, runHooks)",
    new: "registry.drain(filter, onBatch, Effect.void)",
    file: "test/laws/laws.test.ts",
    test: "what is pending is published before some are drained, and joined again for those who stay"
  },
  {
    of: "L10",
    what: "connections are taken whatever the hub's state",
    old: `events.state === "Open" ? registry.full(remoteAddress, others) : new HubUnavailable({ state: events.state })`,
    new: "registry.full(remoteAddress, others)",
    file: "test/laws/laws.test.ts",
    test: "is refused before the hub is ready, while it drains and after it closed, and let go of"
  },
  {
    of: "L10",
    what: "a socket that is refused after the end is not let go of",
    old: `if (events.state === "Closed") transport.terminate()`,
    new: `if (events.state === "Closed") return`,
    file: "test/laws/laws.test.ts",
    test: "is refused before the hub is ready, while it drains and after it closed, and let go of"
  },
  {
    of: "L11",
    what: "a greeting that throws does so outside of its fiber",
    old:
      "const greeting = Effect.suspend((): Effect.Effect<unknown, E1, R1> => options.greeting?.(connection) ?? Effect.void)",
    new: "const greeting: Effect.Effect<unknown, E1, R1> = options.greeting?.(connection) ?? Effect.void",
    file: "test/laws/laws.test.ts",
    test: "a greeting that fails or throws closes the connection"
  },
  {
    of: "L11",
    what: "`onFailure` may throw",
    old: "Option.getOrUndefined(Option.liftThrowable(() => onFailure?.(failure.value))())",
    new: "onFailure?.(failure.value)",
    file: "test/laws/laws.test.ts",
    test: "the handler fails with what is not"
  },
  {
    of: "L12",
    what: "who waits does not look again",
    old: "if (condition()) return resume(Effect.void)",
    new: "",
    file: "test/laws/chaos.test.ts",
    test: "while a connection is handed over"
  },
  {
    of: "L12",
    what: "`serve` can be interrupted between taking a connection and waiting for it",
    old: "Effect.uninterruptibleMask((restore) => Effect.flatMap(accept(transport, run, options)",
    new: "Effect.interruptibleMask((restore) =>\nEffect.flatMap(accept(transport, run, options)",
    file: "test/laws/chaos.test.ts",
    test: "while a connection is served"
  },
  {
    of: "L12",
    what: "a drain ends with whoever asked for it",
    old: "return Deferred.await(drained)",
    new: "return Effect.onInterrupt(Deferred.await(drained), () => Deferred.interrupt(drained))",
    file: "test/laws/chaos.test.ts",
    test: "while the hub drains"
  },
  {
    of: "L8",
    what: "what a peer sent while the hub did not read is over its rate",
    old: "this.paused ? Infinity : Math.max(messageBurst, this.tokens)",
    new: "Math.max(messageBurst, this.tokens)",
    file: "test/laws/laws.test.ts",
    test: "what a peer sends while the hub does not read is within its rate, though it arrives at once"
  },
  {
    of: "L8",
    what: "an overflow before the greeting is the last that is told",
    old: "this.overflowing = false this.outbox.release()",
    new: "this.outbox.release()",
    file: "test/laws/laws.test.ts",
    test: "an overflow is told once each time, whatever overflowed before"
  },
  {
    of: "L8",
    what: "who sends much does not wait for its peer",
    old: "return this.changed.until(() => !this.outbox.isBehind || this.gone)",
    new: "return Effect.void",
    file: "test/core/sending.test.ts",
    test: "a handler that sends far more than its outbox holds"
  },
  {
    of: "L2",
    what: "the scope of a connection does not learn how its handler ended",
    old: "this.fiber.unsafePoll() ?? Exit.void",
    new: "Exit.void",
    file: "test/core/ending.test.ts",
    test: "the scope of a connection closes with the exit of its handler"
  },
  {
    of: "L4",
    what: "`send` to a peer that is gone says that it was accepted",
    old: "if (this.gone || this.status",
    new: "if (this.status",
    file: "test/core/sending.test.ts",
    test: "is false for a peer that"
  },
  {
    of: "L9",
    what: "a handler that is cut off keeps its grace",
    old: "this.handlerDone || this.isCutOff",
    new: "this.handlerDone",
    file: "test/laws/laws.test.ts",
    test: "a handler that takes its time is interrupted when it is cut off, whatever its grace"
  }
]
