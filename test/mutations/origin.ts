/** Mutations that bring back what this project began with. */
import type { Mutation } from "./mutation.js"

export const origin: ReadonlyArray<Mutation> = [
  {
    of: "finding 1",
    what: "a hub that is not open takes connections",
    old: `events.state === "Open" ? registry.full(remoteAddress, others) : new HubUnavailable({ state: events.state })`,
    new: "registry.full(remoteAddress, others)",
    file: "test/origin/findings.test.ts",
    test: "over a socket: while the hub starts it is answered 503, and then it is served"
  },
  {
    of: "finding 1",
    what: "the guard does not answer before an application is mounted",
    old: "answer(socket, unavailable)",
    new: "",
    file: "test/origin/findings.test.ts",
    test: "over a socket: before an application is mounted it is answered 503, and the process lives"
  },
  {
    of: "finding 1",
    what: "the handler starts before its connection is registered",
    old: "{ immediate: false, scheduler }",
    new: "{ immediate: true, scheduler }",
    file: "test/origin/findings.test.ts",
    test: "the first step of a handler finds its connection registered and its scope open"
  },
  {
    of: "finding 2",
    what: "there is no greeting",
    old: "options.greeting?.(connection) ?? Effect.void",
    new: "Effect.void",
    file: "test/origin/findings.test.ts",
    test: "is the snapshot, also when it is empty, and then it says []"
  },
  {
    of: "finding 3",
    what: "no more than 16 connections end at a time",
    old: "run: (effect) => runFork(Effect.uninterruptible(effect))",
    new:
      "run: ((sixteen) => (effect) => runFork(Effect.uninterruptible(sixteen.withPermits(1)(effect))))(Effect.unsafeMakeSemaphore(16))",
    file: "test/origin/findings.test.ts",
    test: "of one connection waits for no other"
  },
  {
    of: "finding 4",
    what: "the hub closes without a drain",
    old: `Effect.zipRight(drain, Effect.sync(() => events.enter("Closed")))`,
    new: `Effect.sync(() => events.enter("Closed"))`,
    file: "test/laws/model.test.ts",
    test: "for any order of commands"
  },
  {
    of: "D1",
    what: "`send` does not ask whether the end has begun",
    old: `if (this.gone || this.status._tag === "Sealed" || this.status._tag === "Closed") return false`,
    new: "",
    file: "test/origin/defects.test.ts",
    test: "is refused or sent, and never written after the close frame"
  },
  {
    of: "D2",
    what: "what is pending is not published when the hub drains",
    old:
      `yield* hub.beforeDrain(Effect.flatMap(hub.state, (state) => state === "Open" ? publishAfter(flushAll) : stop))`,
    new: "",
    file: "test/origin/defects.test.ts",
    test: "is delivered when the hub drains"
  },
  {
    of: "D2",
    what: "what is pending is not published when its scope closes",
    old: "yield* Effect.addFinalizer(() => stop)",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "is delivered when what publishes is closed before the hub"
  },
  {
    of: "D3",
    what: "no close frame",
    old: "this.transport.close(reason.code, reason.reason)",
    new: "this.transport.terminate()",
    file: "test/origin/defects.test.ts",
    test: "every client gets a close frame with 1001"
  },
  {
    of: "D4",
    what: "leaving the registry does not delete",
    old: "this.connections.delete(connection.id)",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "over sockets, leaves no entry behind"
  },
  {
    of: "D5",
    what: "what is too much for one write is dropped",
    old: "if (this.batch.size >= flushBytes) this.flush()",
    new: "if (this.batch.size >= flushBytes) this.abandon()",
    file: "test/origin/defects.test.ts",
    test: "over a socket, arrives whole and in order at a reader that keeps up"
  },
  {
    of: "D5",
    what: "a frame that does not fit is dropped without a word",
    old: `this.events.onOverflow(drops ? "dropped" : "disconnected")`,
    new: "",
    file: "test/origin/defects.test.ts",
    test: "that does not fit ends the connection of the slow reader, with a notice and a count"
  },
  {
    of: "D6",
    what: "there is no greeting",
    old: "options.greeting?.(connection) ?? Effect.void",
    new: "Effect.void",
    file: "test/origin/findings.test.ts",
    test: "is the snapshot, also when it is empty, and then it says []"
  },
  {
    of: "D7",
    what: "whatever comes within a window is joined",
    old: "if (earlier !== undefined && canCombine(earlier, message))",
    new: "if (earlier !== undefined)",
    file: "test/origin/defects.test.ts",
    test: "keeps a prompt with its actions apart from what is around it, and every id"
  },
  {
    of: "D8",
    what: "who does not answer pings stays",
    old: "else if (now - this.pingedAt >= this.host.config.heartbeatTimeout) this.end(reasons.heartbeat)",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "is closed when it does not answer a ping in time"
  },
  {
    of: "D8",
    what: "a peer that does not answer keeps its socket",
    old: "yield* this.within(() => this.gone) this.transport.terminate()",
    new: "yield* this.within(() => this.gone)",
    file: "test/origin/defects.test.ts",
    test: "does not keep its socket by not reading and not answering the close frame"
  },
  {
    of: "D9",
    what: "nothing is held back for the greeting",
    old: "private held: Map<unknown, Frame.Frame> | undefined = new Map()",
    new: "private held: Map<unknown, Frame.Frame> | undefined = undefined",
    file: "test/origin/defects.test.ts",
    test: "comes before the change, and the change is not missed"
  },
  {
    of: "D10",
    what: "a client that comes back recovers nothing",
    old: "return whole && sameStream(since.epoch, position.epoch)",
    new: "return whole && since.offset < 0",
    file: "test/channels/sdk.test.ts",
    test: "a client that comes back gets what it missed, once and in order"
  },
  {
    of: "D11",
    what: "whoever is refused is let in",
    old: "onFailure: Refusal.of,",
    new: "onFailure: () => upgrade(request, address, undefined, claim),",
    file: "test/origin/defects.test.ts",
    test: "a wrong or missing token is 401 before the upgrade; a right one yields a principal of its own"
  },
  {
    of: "D11",
    what: "any origin",
    old: "if (!originAllowed(request, origins)) return",
    new: "if (origins === undefined) return",
    file: "test/origin/defects.test.ts",
    test: "a browser of another origin is 403"
  },
  {
    of: "D12",
    what: "connections are not counted",
    old: "this.connections.size + others >= connections",
    new: "false",
    file: "test/origin/defects.test.ts",
    test: "on connections, in the hub and by address"
  },
  {
    of: "D12",
    what: "the rate of messages is not looked at",
    old: "if (this.host.config.messagesPerSecond !== Infinity && !this.admit()) return",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "on the rate of messages"
  },
  {
    of: "D12",
    what: "messages of 100 MiB are taken",
    old: "maxPayload: hub.config.messageBytes",
    new: "maxPayload: 104857600",
    file: "test/origin/defects.test.ts",
    test: "over a socket, on the size of a message"
  },
  {
    of: "D12",
    what: "any amount is joined into one message",
    old: "if (opened !== undefined && opened.bytes + bytes > keyBytes) flush(opened)",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "on what is joined into one message"
  },
  {
    of: "D14",
    what: "a drain has no pace",
    old: "if (from > 0) yield* Effect.sleep(tick)",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "are sent away in batches, in no order"
  },
  {
    of: "D14",
    what: "a drain keeps the order of arrival",
    old: "chosen.length > size ? yield* Random.shuffle(chosen) : chosen",
    new: "chosen",
    file: "test/origin/defects.test.ts",
    test: "are sent away in batches, in no order"
  },
  {
    of: "D15",
    what: "closes are not counted",
    old: "HubMetrics.closes(reason.by).unsafeUpdate(1, [])",
    new: "",
    file: "test/origin/defects.test.ts",
    test: "opens, closes by reason, and messages are counted"
  },
  {
    of: "C3",
    what: "what is published to some reaches all",
    old: "publish: (topic, message, options) => Effect.sync(() => fanOut(topics.of(topic), message, options))",
    new: "publish: (_, message, options) => Effect.sync(() => fanOut(registry.connections.values(), message, options))",
    file: "test/origin/contract.test.ts",
    test: "who has chosen none sees all, who has chosen some sees those, and nothing twice"
  },
  {
    of: "C3",
    what: "the end of a connection does not close its scope",
    old: "Effect.map(this.closeScope, () => this.unregister(reason))",
    new: "Effect.sync(() => this.unregister(reason))",
    file: "test/origin/contract.test.ts",
    test: "the first to come attaches, the last to leave detaches, however they leave"
  },
  {
    of: "C5",
    what: "what is binary arrives as text",
    old: "isBinary ? bytes(data) : bytes(data).toString()",
    new: "bytes(data).toString()",
    file: "test/origin/contract.test.ts",
    test: "over a socket: every byte in both directions, and its size; what is no size is answered"
  },
  {
    of: "D16",
    what: "more than 16 are one too many",
    old: "this.connections.size + others >= connections",
    new: "this.connections.size + others >= 16",
    file: "test/origin/defects.test.ts",
    test: "over sockets: 300 at once are all served"
  }
]
