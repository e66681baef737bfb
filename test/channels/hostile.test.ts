import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { randomInt } from "node:crypto"
import { disconnects } from "../../src/channels/ProtocolCode.js"
import { decode } from "../../src/channels/ProtocolCommand.js"
import { connected, type Document, online, type Sdk, serve, type Server, type Sub, type Wire, wire } from "./support.js"

const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31))
const runs = process.env["TEST_LONG"] === undefined ? 300 : 5000

/** What a hostile client may be closed with: a code of the protocol, a frame that is too large, or text that is none. */
const named = new Set([1007, 1009, ...Object.values(disconnects).map(({ code }) => code)])
// Nothing that a client sends makes the server fail.
named.delete(disconnects.internal.code)

/** Errors of the protocol, in replies; not 100, for the same reason. */
const replies = new Set([101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113])

interface Scene {
  readonly server: Server
  readonly bystander: Sdk
  readonly heard: Sub
}

/** A server with somebody who is served all the while. */
const scene = Effect.gen(function*() {
  const server = yield* serve({ hub: { messagesPerSecond: "off" } })
  yield* server.channels.rpc("echo", (data) => Effect.succeed(data))
  yield* server.channels.onMessage(() => Effect.void)
  const bystander = yield* connected(server)
  const heard = yield* bystander.subscribe("pushed:bystander")
  yield* heard.next("join")
  return { server, bystander, heard } satisfies Scene
})

/**
 * Sends the frames, and asks one more thing. Either that is answered, or the connection was closed with a code that the
 * protocol names; what came before are documents of the protocol. Then the bystander is served as before.
 */
const survives = (
  { bystander, heard, server }: Scene,
  frames: ReadonlyArray<string | Uint8Array>,
  options: { readonly early?: boolean; readonly codes?: ReadonlyArray<number> } = {}
): Effect.Effect<number | undefined, never, Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* options.early === true ? wire(server) : online(server)
    for (const frame of frames) yield* client.text(frame)
    yield* client.send({ id: 4294967295, rpc: { method: "echo", data: "still there" } })
    const outcome = yield* Effect.raceFirst(
      Effect.map(client.closed, ({ code }) => code),
      Effect.gen(function*() {
        for (;;) {
          const reply = yield* client.next
          const { error, id } = reply
          if (id === 4294967295) {
            assert.deepStrictEqual(reply, { id, rpc: { data: "still there" } })
            return undefined
          }
          const code = (error as { readonly code: number } | undefined)?.code
          if (code !== undefined) assert.include(replies, code)
        }
      }).pipe(
        // The end of the connection shows in both; its code is told by the first.
        Effect.catchAllDefect((defect) => String(defect).includes("ended with") ? Effect.never : Effect.die(defect))
      )
    )
    if (outcome !== undefined) assert.include(named, outcome)
    if (options.codes !== undefined) assert.include(options.codes, outcome)
    yield* Effect.sync(() => client.peer.ws.terminate())
    yield* Effect.orDie(server.channels.publish("pushed:bystander", "still here"))
    assert.deepInclude(yield* heard.next("publication"), { data: "still here" })
    // One that was closed and came back would be connected too.
    assert.deepStrictEqual(bystander.names, ["connecting", "connected"])
    assert.deepStrictEqual(heard.names.filter((name) => name !== "publication"), ["subscribing", "subscribed", "join"])
    return outcome
  })

/** Runs the property against one scene, and finds nobody left behind. */
const holds = <A>(
  arbitrary: FastCheck.Arbitrary<A>,
  property: (scene: Scene, value: A) => Effect.Effect<unknown, never, Scope.Scope>,
  numRuns = runs
) =>
  Effect.gen(function*() {
    const where = yield* scene
    yield* Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          arbitrary,
          (value) => Effect.runPromise(Effect.scoped(Effect.asVoid(property(where, value))))
        ),
        { seed, numRuns, endOnFailure: numRuns < 100 }
      )
    )
    yield* Effect.repeat(
      Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), where.server.hub.size),
      { until: (size) => size === 1 }
    )
    const { size } = yield* where.server.channels.presence("pushed:bystander")
    assert.strictEqual(size, 1)
    assert.deepStrictEqual(Array.from((yield* where.server.channels.channels()).channels), [["pushed:bystander", {
      clients: 1
    }]])
    const { clients, subscriptions } = (yield* where.server.channels.info).nodes[0] ?? {}
    assert.deepStrictEqual([clients, subscriptions], [1, 1])
  })

const keys = FastCheck.constantFrom(
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "then",
  "toJSON",
  "id",
  "error",
  "push"
)

const channels = FastCheck.oneof(
  FastCheck.constantFrom(
    "x",
    "pushed:x",
    "recovered:x",
    "greeted:x",
    "$x",
    "$",
    ":",
    "#",
    "::x",
    "limited:#",
    "kept:x#",
    "words:é"
  ),
  keys,
  keys.map((key) => `${key}:x`),
  FastCheck.string({ maxLength: 300 }),
  FastCheck.string({ unit: "binary", maxLength: 20 }),
  FastCheck.constant("\ud800"),
  FastCheck.constant("words:\udc00")
)

const numbers = FastCheck.oneof(
  FastCheck.constantFrom(0, -0, -1, 0.5, 1e308, -1e308, 5e-324, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, 1e21),
  FastCheck.integer(),
  FastCheck.double({ noNaN: true, noDefaultInfinity: true })
)

const json: FastCheck.Arbitrary<unknown> = FastCheck.oneof(
  FastCheck.jsonValue({ maxDepth: 3 }),
  numbers,
  channels,
  FastCheck.dictionary(keys, FastCheck.oneof(FastCheck.jsonValue({ maxDepth: 1 }), numbers), { maxKeys: 4 })
)

const field = <A>(right: FastCheck.Arbitrary<A>): FastCheck.Arbitrary<unknown> =>
  FastCheck.oneof({ weight: 3, arbitrary: right }, { weight: 1, arbitrary: json })

const optional = (fields: Record<string, FastCheck.Arbitrary<unknown>>) =>
  field(FastCheck.record(fields, { requiredKeys: [] }))

const channel = field(channels)
const position = { offset: field(numbers), epoch: field(FastCheck.string({ maxLength: 10 })) }
const text = field(
  FastCheck.oneof(FastCheck.string({ maxLength: 20 }), FastCheck.string({ minLength: 60, maxLength: 70 }))
)
const flag = field(FastCheck.boolean())

const subscribe = optional({
  channel,
  token: text,
  recover: flag,
  ...position,
  data: json,
  positioned: flag,
  recoverable: flag,
  join_leave: flag,
  delta: field(FastCheck.constantFrom("fossil", "")),
  tf: json,
  flag: field(numbers),
  type: field(numbers),
  phase: json,
  cursor: text,
  limit: field(numbers)
})

const command = FastCheck.oneof(
  ...Object.entries({
    connect: optional({
      token: text,
      data: json,
      subs: FastCheck.dictionary(channels, subscribe, { maxKeys: 3 }),
      name: text,
      version: text,
      headers: json,
      flag: field(numbers)
    }),
    subscribe,
    unsubscribe: optional({ channel }),
    publish: optional({ channel, data: json, key: json, type: field(numbers) }),
    presence: optional({ channel }),
    presence_stats: optional({ channel }),
    history: optional({ channel, limit: field(numbers), since: optional(position), reverse: flag }),
    ping: json,
    send: optional({ data: json }),
    rpc: optional({ method: field(FastCheck.oneof(keys, FastCheck.constant("echo"))), data: json }),
    refresh: optional({ token: text }),
    sub_refresh: optional({ channel, token: text })
  }).map(([method, request]) =>
    FastCheck.record({ id: field(FastCheck.integer({ min: 1, max: 1000 })), [method]: request })
  )
)

describe(`whatever a client sends, others are served as before (seed ${seed})`, () => {
  it.scopedLive("any JSON document", () =>
    holds(
      FastCheck.tuple(json, FastCheck.boolean()),
      (where, [document, early]) => survives(where, [JSON.stringify(document)], { early })
    ))

  it.scopedLive("any text", () =>
    holds(
      FastCheck.tuple(FastCheck.string({ unit: "binary" }), FastCheck.boolean()),
      (where, [text, early]) => survives(where, [text], { early })
    ))

  it.scopedLive("commands with anything in any field", () =>
    holds(
      FastCheck.array(command, { minLength: 1, maxLength: 5 }),
      (where, commands) => survives(where, [commands.map((command) => JSON.stringify(command)).join("\n")]),
      2 * runs
    ))

  it.scopedLive("commands with anything in any field, each in a frame of its own", () =>
    holds(
      FastCheck.array(command, { minLength: 1, maxLength: 8 }),
      (where, commands) => survives(where, commands.map((command) => JSON.stringify(command)))
    ))

  it.scopedLive("the same instead of connect", () =>
    holds(command, (where, command) => survives(where, [JSON.stringify(command)], { early: true })))

  it.scopedLive("good commands with a broken one among them", () =>
    holds(
      FastCheck.tuple(
        FastCheck.array(FastCheck.constantFrom("x", "pushed:x", "recovered:x"), { maxLength: 4 }),
        FastCheck.constantFrom(
          "{",
          "",
          "[]",
          "nul",
          "{\"id\":1}",
          "{\"id\":1,\"x\":{}}",
          "\u0000",
          "{}{}",
          "{\"rpc\":{}}"
        ),
        FastCheck.nat(4)
      ),
      (where, [channels, broken, at]) => {
        const all = channels.map((channel, index) => JSON.stringify({ id: index + 1, subscribe: { channel } }))
        all.splice(Math.min(at, all.length), 0, broken)
        // An empty document at the end of a frame is its trailing newline.
        const trailing = broken === "" && all.length > 1 && all[all.length - 1] === ""
        return survives(where, [all.join("\n")], trailing ? {} : { codes: [3501] })
      },
      100
    ))

  it.scopedLive("binary frames", () =>
    holds(FastCheck.uint8Array({ maxLength: 100 }), (where, bytes) => survives(where, [bytes], { codes: [3501] }), 50))
})

/** Whether the fields that have bounds are within them. */
const isWithin = (bounds: Record<string, (value: unknown) => boolean>, fields: object): boolean =>
  Object.entries(fields).every(([key, value]) => bounds[key]?.(value) ?? true)

const isText = (most: number, least = 0) => (value: unknown): boolean =>
  typeof value === "string" && value.length >= least && value.length <= most

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0

const isPosition = (value: unknown): boolean =>
  typeof value === "object" && value !== null && isWithin({ offset: isCount, epoch: isText(Infinity) }, value)

const isFlag = (value: unknown): boolean => typeof value === "boolean"

const isSubscribe = (value: unknown): boolean =>
  typeof value === "object" && value !== null && isWithin({
    channel: isText(Infinity),
    token: isText(Infinity),
    since: isPosition,
    recover: isFlag,
    positioned: isFlag,
    recoverable: isFlag,
    joinLeave: isFlag
  }, value)

const isCommand = (command: object): boolean =>
  isWithin({
    id: (value) => isCount(value) && Number(value) < 2 ** 32,
    channel: isText(Infinity, 1),
    token: isText(Infinity),
    method: isText(Infinity),
    name: isText(16),
    version: isText(64),
    headers: (value) => value instanceof Map && Array.from(value.values()).every(isText(Infinity)),
    subscriptions: (value) => value instanceof Map && Array.from(value.values()).every(isSubscribe),
    params: isSubscribe,
    options: (value) =>
      typeof value === "object" && value !== null && isWithin({
        limit: (limit) => limit === undefined || isCount(limit),
        since: (since) => since === undefined || isPosition(since),
        reverse: isFlag
      }, value)
  }, command)

describe(`what is not as the protocol has it is no command (seed ${seed})`, () => {
  it("with anything in any field", () => {
    let commands = 0
    FastCheck.assert(
      FastCheck.property(FastCheck.oneof(command, FastCheck.record({ id: numbers, rpc: optional({}) })), (document) => {
        const decoded = decode(JSON.stringify(document))
        if (decoded === disconnects.badRequest) return
        commands++
        assert.isTrue(isCommand(decoded), JSON.stringify(decoded))
      }),
      { seed, numRuns: 20 * runs }
    )
    assert.isAbove(commands, runs)
  })

  it("only a document's own fields count, whatever else an object has", () => {
    const polluted = {
      id: 1,
      channel: "x",
      token: "x",
      data: "x",
      recover: true,
      subscribe: { channel: "x" },
      limit: 1
    }
    const documents = ["{}", "{\"id\":1}", "{\"subscribe\":{\"channel\":\"x\"}}", "{\"id\":2,\"subscribe\":{}}"]
    const subscribe = "{\"id\":2,\"subscribe\":{\"channel\":\"y\"}}"
    const history = "{\"id\":2,\"history\":{\"channel\":\"y\"}}"
    const all = () => [...documents, subscribe, history].map(decode)
    const before = all()
    try {
      for (const [key, value] of Object.entries(polluted)) {
        Object.defineProperty(Object.prototype, key, { value, configurable: true, enumerable: false, writable: true })
      }
      assert.deepStrictEqual(all(), before)
    } finally {
      for (const key of Object.keys(polluted)) Reflect.deleteProperty(Object.prototype, key)
    }
  })
})

/** What a connected client may expect of one document, from what the decoder says of it. */
interface Expected {
  /** Codes that it may be closed with. */
  readonly closes: ReadonlyArray<number>
  /** What the reply may have: the command's own key, or an error with such a code. None: there is no reply. */
  readonly replies: ReadonlyArray<string | number>
}

const onlyCloses: Expected = { closes: [3501], replies: [] }

/** No namespace, a name that cannot be, no right. */
const refused = [102, 103, 107]

const expected = (document: string): Expected => {
  const command = decode(document)
  if (!("_tag" in command) || command._tag === "Disconnect") return onlyCloses
  switch (command._tag) {
    // It is connected already, and owes no pong.
    case "connect":
    case "pong":
      return onlyCloses
    case "subscribe": {
      const { token, unsupported } = command.params
      if (unsupported === "delta") return onlyCloses
      if (unsupported === "filter") return { closes: [], replies: [107] }
      if (unsupported === "type") return { closes: [], replies: [108] }
      return {
        closes: token === "" ? [] : [3500],
        replies: [...refused, 105, ...(token === "" ? ["subscribe", 112] : [109])]
      }
    }
    case "unsubscribe":
      return { closes: [], replies: ["unsubscribe"] }
    case "publish":
      return { closes: [], replies: command.data === undefined ? [102, 107] : [...refused, "publish"] }
    case "presence":
    case "presence_stats":
      return { closes: [], replies: [...refused, 108, command._tag] }
    case "history":
      return { closes: [], replies: [...refused, 108, 112, "history"] }
    case "ping":
      return { closes: [], replies: [108] }
    case "send":
      return { closes: [], replies: [] }
    case "rpc":
      return { closes: [], replies: [command.method === "echo" ? "rpc" : 104] }
    case "refresh":
      return command.token === "" ? onlyCloses : { closes: [3500, 3005], replies: ["refresh"] }
    case "sub_refresh":
      return command.token === ""
        ? { closes: [3501], replies: [103] }
        : { closes: [3500], replies: [103, 109, "sub_refresh"] }
  }
}

/** Whatever comes until the last reply, or the end; and the code of that. */
const everything = (client: Wire, last: number) =>
  Effect.gen(function*() {
    const documents: Array<Document> = []
    const reading = Effect.repeat(Effect.tap(client.next, (document) => Effect.sync(() => documents.push(document))), {
      until: ({ id }) => id === last
    })
    const isOver = Effect.map(client.closed, ({ code }) => code)
    const code = yield* Effect.as(reading, undefined).pipe(
      Effect.catchAllDefect((defect) => String(defect).includes("ended with") ? isOver : Effect.die(defect))
    )
    return { documents, code }
  })

describe(`the server does what its decoder says of each document (seed ${seed})`, () => {
  const last = 4294967295

  /** Each is answered in its turn, until one ends the connection. */
  const agrees = ({ server }: Scene, documents: ReadonlyArray<string>, together: boolean) =>
    Effect.gen(function*() {
      const client = yield* online(server)
      const sentinel = JSON.stringify({ id: last, rpc: { method: "echo", data: 1 } })
      const all = [...documents, sentinel]
      yield* Effect.forEach(together ? [all.join("\n")] : all, (frame) => client.text(frame), { discard: true })
      const outcome = yield* everything(client, last)
      const answers = outcome.documents.filter(({ push }) => push === undefined)
      for (const document of all) {
        const { closes, replies } = expected(document)
        const answer = answers[0]
        if (answer === undefined && outcome.code !== undefined && closes.includes(outcome.code)) return
        if (replies.length === 0 && closes.length === 0) continue
        assert.isDefined(answer, `${document} is not answered: ${outcome.code}`)
        answers.shift()
        const { error, id, ...result } = answer ?? {}
        const keys = error === undefined ? Object.keys(result) : [(error as { readonly code: number }).code]
        assert.strictEqual(id, (JSON.parse(document) as Document)["id"], document)
        assert.lengthOf(keys, 1)
        assert.include(replies, keys[0], document)
      }
      assert.isUndefined(outcome.code)
      assert.deepStrictEqual(answers, [])
    })

  /** What is right as a command, so that more than the decoder has a say. */
  const right = FastCheck.record({
    id: FastCheck.integer({ min: 1, max: 1000 }),
    command: FastCheck.constantFrom<Record<string, unknown>>(
      { subscribe: { channel: "x" } },
      { subscribe: { channel: "recovered:x", recover: true, offset: 5, epoch: "none", flag: 2 } },
      { subscribe: { channel: "x", tf: {} } },
      { subscribe: { channel: "x", type: 1 } },
      { subscribe: { channel: "x", delta: "other" } },
      { subscribe: { channel: "x", token: "no token" } },
      { subscribe: { channel: "nowhere:x" } },
      { unsubscribe: { channel: "x" } },
      { publish: { channel: "x", data: null } },
      { publish: { channel: "x" } },
      { presence: { channel: "x" } },
      { presence_stats: { channel: "pushed:x" } },
      { history: { channel: "kept:x", limit: -1 } },
      { history: { channel: "kept:x", since: { offset: 1, epoch: "none" } } },
      { ping: {} },
      { send: { data: 1 } },
      { rpc: { method: "echo" } },
      { rpc: { method: "nothing" } },
      { refresh: {} },
      { sub_refresh: { channel: "x" } }
    )
  }).map(({ command, id }) => JSON.stringify({ id, ...command }))

  const documents = FastCheck.oneof(
    { weight: 8, arbitrary: right },
    { weight: 8, arbitrary: command.map((command) => JSON.stringify(command)) },
    { weight: 1, arbitrary: json.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: FastCheck.string({ minLength: 1, maxLength: 20 }).map((text) => text.replace("\n", " ")) }
  )

  it.scopedLive("in one frame, or in a frame each", () =>
    holds(
      FastCheck.tuple(FastCheck.array(documents, { maxLength: 6 }), FastCheck.boolean()),
      (where, [documents, together]) => agrees(where, documents, together)
    ))
})

describe("single frames that have brought servers down", () => {
  const deep = (levels: number, [left, right]: readonly [string, string], inner = "1") =>
    left.repeat(levels) + inner + right.repeat(levels)
  const array = ["[", "]"] as const
  const levels = 32_000
  const command = (id: number, rest: string) => `{"id":${id},${rest}}`

  const frames: Record<string, { readonly frame: string; readonly code: number | undefined }> = {
    "a document of 32000 levels": { frame: deep(levels, array), code: 3501 },
    "9000 objects within objects": { frame: deep(9_000, ["{\"a\":", "}"]), code: 3501 },
    "data of 32000 levels in a publication": {
      frame: command(2, `"publish":{"channel":"x","data":${deep(levels, array)}}`),
      code: undefined
    },
    "data of 32000 levels in a channel with history": {
      frame: command(2, `"publish":{"channel":"kept:x","data":${deep(levels, array)}}`),
      code: undefined
    },
    "data of 32000 levels in a call": {
      frame: command(2, `"rpc":{"method":"echo","data":${deep(levels, array)}}`),
      code: undefined
    },
    "data of 32000 levels in a subscribe": {
      frame: command(2, `"subscribe":{"channel":"x","data":${deep(levels, array)}}`),
      code: undefined
    },
    "32000 levels in a field that is unknown": { frame: command(2, `"other":${deep(levels, array)}`), code: 3501 },
    "32000 levels instead of a channel": {
      frame: command(2, `"subscribe":{"channel":${deep(levels, array)}}`),
      code: 3501
    },
    "an array of 30001 elements as data": {
      frame: command(2, `"publish":{"channel":"x","data":[${"1,".repeat(30_000)}1]}`),
      code: undefined
    },
    "20000 pongs": { frame: "{}\n".repeat(20_000), code: 3501 },
    "10000 newlines": { frame: "\n".repeat(10_000), code: 3501 },
    "huge numbers in every number": {
      frame: command(2, "\"history\":{\"channel\":\"kept:x\",\"limit\":1e999,\"since\":{\"offset\":1e999}}"),
      code: 3501
    },
    "a number with ten thousand digits": {
      frame: command(2, `"publish":{"channel":"x","data":${"9".repeat(10_000)}}`),
      code: undefined
    },
    "a lone surrogate in data": {
      frame: command(2, "\"publish\":{\"channel\":\"x\",\"data\":\"\\ud800\"}"),
      code: undefined
    },
    "a lone surrogate in a channel": {
      frame: command(2, "\"subscribe\":{\"channel\":\"\\ud800\"}"),
      code: undefined
    },
    "1200 subscribes in one frame": {
      frame: Array.from({ length: 1200 }, (_, n) => command(n + 1, `"subscribe":{"channel":"x${n}"}`)).join("\n"),
      code: undefined
    },
    "a thousand times subscribe and unsubscribe": {
      frame: Array.from(
        { length: 1000 },
        (_, n) => command(n + 1, `"${n % 2 === 0 ? "subscribe" : "unsubscribe"}":{"channel":"pushed:x"}`)
      ).join("\n"),
      code: undefined
    },
    "__proto__ with everything in it": {
      frame: "{\"__proto__\":{\"id\":1,\"rpc\":{\"method\":\"echo\"}},\"id\":2}",
      code: 3501
    },
    "a duplicate key": {
      frame: "{\"id\":2,\"id\":0,\"rpc\":{\"method\":\"echo\"}}",
      code: 3501
    },
    "a byte order mark": { frame: "\ufeff{\"id\":2,\"rpc\":{\"method\":\"echo\"}}", code: 3501 }
  }
  for (const [what, { code, frame }] of Object.entries(frames)) {
    it.scopedLive(what, () =>
      Effect.gen(function*() {
        const where = yield* scene
        assert.isBelow(Buffer.byteLength(frame), 65_536)
        const outcome = yield* survives(where, [frame])
        assert.strictEqual(outcome, code)
      }))
  }

  it.scopedLive("data of any depth is answered as it is, or refused as the client's fault", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.map(Logger.logfmtLogger, (line) => void logs.push(line))
      const answers = Effect.gen(function*() {
        const server = yield* serve({ hub: { messagesPerSecond: "off" } })
        yield* server.channels.rpc("echo", (data) => Effect.succeed(data))
        yield* server.channels.rpc("wrap", (data) => Effect.succeed([data]))
        const client = yield* online(server)
        let refused = 0
        for (let depth = 100; depth < levels; depth += Math.ceil(depth / 16)) {
          for (const [method, more] of [["echo", 0], ["wrap", 1]] as const) {
            yield* client.text(command(2, `"rpc":{"method":"${method}","data":${deep(depth, array)}}`))
            const answer = yield* client.peer.next
            if (answer === command(2, `"rpc":{"data":${deep(depth + more, array)}}`)) continue
            const message = "bad request: the data is not JSON, or is nested too deeply"
            assert.strictEqual(answer, command(2, `"error":{"code":107,"message":"${message}"}`))
            refused++
          }
        }
        return refused
      })
      assert.isAbove(yield* Effect.provide(answers, Logger.replace(Logger.defaultLogger, logger)), 0)
      assert.deepStrictEqual(logs, [])
    }))

  it.scopedLive("an array of a hundred thousand elements, where so large a message is allowed", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub: { messageBytes: 1_000_000, outboxBytes: 4_000_000 } })
      const client = yield* online(server)
      const data = Array.from({ length: 100_000 }, (_, n) => n % 10)
      const sub = yield* (yield* connected(server)).subscribe("x")
      assert.deepStrictEqual(yield* client.ask({ id: 2, publish: { channel: "x", data } }), [{ id: 2, publish: {} }])
      assert.deepStrictEqual((yield* sub.next("publication")).data, data)
    }))

  it.scopedLive("data that a subscriber gets is what the publisher sent, however odd its keys", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [ada, bob] = [yield* online(server), yield* online(server)]
      yield* bob.ask({ id: 2, subscribe: { channel: "x" } })
      const data = "{\"__proto__\":{\"a\":1},\"constructor\":null,\"toJSON\":1,\"then\":{}}"
      yield* ada.text(`{"id":2,"publish":{"channel":"x","data":${data}}}`)
      const push = JSON.stringify((yield* bob.next)["push"])
      assert.include(push, `"data":${data}`)
      assert.notProperty({}, "a")
    }))
})
