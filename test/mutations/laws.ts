/** Mutations of the core that break L1 to L7. */
import type { Mutation } from "./mutation.js"

export const laws: ReadonlyArray<Mutation> = [
  {
    of: "L1",
    what: "a member of a connection may be missing",
    old: "readonly join: (topic: string) => Effect.Effect<void>",
    new: "readonly join?: (topic: string) => Effect.Effect<void>",
    file: "typetest/laws.tst.ts",
    test: "nor one of a connection, its handshake, its transport and the hub's limits"
  },
  {
    of: "L1",
    what: "the handler starts at once, before its connection is registered",
    old: "{ immediate: false, scheduler }",
    new: "{ immediate: true, scheduler }",
    file: "test/laws/laws.test.ts",
    test: "the handler takes its first step when its connection is registered and open"
  },
  {
    of: "L1",
    what: "the socket is opened before the connection is registered",
    old: "registry.add(connection)",
    new: "transport.open(connection)\nregistry.add(connection)",
    file: "test/laws/laws.test.ts",
    test: "the handler takes its first step when its connection is registered and open"
  },
  {
    of: "L2",
    what: "the end of a connection does not close its scope",
    old: "Effect.map(this.closeScope, () => this.unregister(reason))",
    new: "Effect.sync(() => this.unregister(reason))",
    file: "test/laws/laws.test.ts",
    test: "its end releases all that the handler holds, and gives the hub everything back"
  },
  {
    of: "L2",
    what: "the end of a connection does not leave its topics",
    old: "onEnded: (connection) => topics.leaveAll(connection)",
    new: "onEnded: () => {}",
    file: "test/laws/laws.test.ts",
    test: "its end releases all that the handler holds, and gives the hub everything back"
  },
  {
    of: "L2",
    what: "`serve` does not end the connection when it is interrupted",
    old: "connection.end(reasons.interrupt) return connection.closed",
    new: "return Effect.void",
    file: "test/laws/laws.test.ts",
    test: "the end of the fiber that serves it closes it"
  },
  {
    of: "L2",
    what: "`join` does not ask whether the connection is open",
    old: `this.status._tag === "Open" && this.host.join(this, topic)`,
    new: "this.host.join(this, topic)",
    file: "test/laws/laws.test.ts",
    test: "after the end sending does nothing, and joining leaves no trace"
  },
  {
    of: "L2",
    what: "a finalizer that dies keeps the connection registered",
    old: "Effect.catchAllCause( Scope.close(this.scope, this.fiber.unsafePoll() ?? Exit.void),",
    new: "Effect.catchAll(\nScope.close(this.scope, this.fiber.unsafePoll() ?? Exit.void),",
    file: "test/core/ending.test.ts",
    test: "when a finalizer of the connection dies"
  },
  {
    of: "L3",
    what: "unregistered before its scope closes",
    old: "Effect.map(this.closeScope, () => this.unregister(reason))",
    new: "Effect.zipRight(Effect.sync(() => this.unregister(reason)), this.closeScope)",
    file: "test/laws/laws.test.ts",
    test: "while its finalizers run it is still registered, and then no longer"
  },
  {
    of: "L3",
    what: "leaving the registry does not delete",
    old: "this.connections.delete(connection.id)",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "leaving waits for nobody: a thousand at once, while nobody reads the events"
  },
  {
    of: "L4",
    what: "a later end replaces the first",
    old: `end(why: CloseReason): void { if (this.status._tag !== "Open") return`,
    new: "end(why: CloseReason): void {",
    file: "test/laws/laws.test.ts",
    test: "the application closes all"
  },
  {
    of: "L4",
    what: "a handler that is out of messages counts as its end",
    old: `if (this.status._tag !== "Open") return const reason`,
    new: "const reason",
    file: "test/laws/laws.test.ts",
    test: "a handler that is out of messages after the peer left is not the end"
  },
  {
    of: "L5",
    what: "nothing is held back for the greeting",
    old: "private held: Map<unknown, Frame.Frame> | undefined = new Map()",
    new: "private held: Map<unknown, Frame.Frame> | undefined = undefined",
    file: "test/laws/laws.test.ts",
    test: "Opened, then the greeting, then what others sent meanwhile, then the rest"
  },
  {
    of: "L5",
    what: "what was held back is not released",
    old: "this.outbox.release()",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "Opened, then the greeting, then what others sent meanwhile, then the rest"
  },
  {
    of: "L5",
    what: "the handler does not wait for the greeting",
    old: "const program = Effect.flatMap(greeting, () => {",
    new: "const program = Effect.flatMap(Effect.forkDaemon(greeting), () => {",
    file: "test/laws/laws.test.ts",
    test: "Opened, then the greeting, then what others sent meanwhile, then the rest"
  },
  {
    of: "L6",
    what: "what was sent in this turn is not flushed",
    old: `this.status = { _tag: "Sealed", reason } this.outbox.flush()`,
    new: `this.status = { _tag: "Sealed", reason }`,
    file: "test/laws/laws.test.ts",
    test: "handler, outbox, close frame, socket, scope, registration, event: each once"
  },
  {
    of: "L6",
    what: "the backlog is not awaited",
    old: "if (!unflushed.has(reason.by)) yield* this.within(() => !this.outbox.isBehind || this.gone)",
    new: "",
    file: "test/laws/laws.test.ts",
    test: "what was sent is flushed within the grace, and what was not is given up"
  },
  {
    of: "L6",
    what: "a peer that does not answer the close frame is not cut off",
    old: "yield* this.within(() => this.gone) this.transport.terminate()",
    new: "yield* this.within(() => this.gone)",
    file: "test/laws/laws.test.ts",
    test: "a peer that does not answer the close frame is cut off after the grace"
  },
  {
    of: "L6",
    what: "the handler is interrupted at once, whoever left",
    old: "if (!this.handlerDone && !graceful.has(reason.by)) this.interrupt()",
    new: "if (!this.handlerDone) this.interrupt()",
    file: "test/laws/laws.test.ts",
    test: "a peer that leaves lets the handler finish, and one that stalls is interrupted after the grace"
  },
  {
    of: "L6",
    what: "whoever comes second closes the socket too",
    old: `if (this.status._tag === "Ended") {`,
    new: "{",
    file: "test/laws/laws.test.ts",
    test: "its peer is told once, though the handler ends while it is told"
  },
  {
    of: "L7",
    what: "the backlog is written from its end",
    old: "for (const [key, frame] of backlog) {",
    new: "for (const [key, frame] of [...backlog].reverse()) {",
    file: "test/laws/laws.test.ts",
    test: "while the peer does not read, and after it does"
  },
  {
    of: "L7",
    what: "joined messages are published by many at a time",
    old: "const lock = Effect.unsafeMakeSemaphore(1)",
    new: "const lock = Effect.unsafeMakeSemaphore(100)",
    file: "test/core/Coalesce.test.ts",
    test: "what is offered later does not overtake a publish that takes its time"
  }
]
