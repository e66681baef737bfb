import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Effect,
  Either,
  Exit,
  FastCheck as fc,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Schema,
  Scope,
  Stream,
  TestClock,
  Tracer
} from "effect"
import { Disconnect, type HubConfig } from "effect-ws-hub"
import * as Channel from "../../src/channels/Channel.js"
import { Channels } from "../../src/channels/Channels.js"
import { ProtocolError } from "../../src/channels/ProtocolCode.js"
import { until } from "../client/support.js"
import { connected, open, refusal, serve, user } from "./support.js"
import { ada, layer as recording, Recording } from "./support/Recording.js"

const Room = Channel.make("chat:room-{id}", {
  params: { id: Schema.NumberFromString },
  send: Schema.Union(
    Schema.TaggedStruct("Say", { text: Schema.NonEmptyString }),
    Schema.TaggedStruct("Leave", {})
  ),
  receive: Schema.TaggedStruct("Said", { text: Schema.String.pipe(Schema.maxLength(10)), at: Schema.Date }),
  join: Schema.Struct({ nick: Schema.NonEmptyString }),
  options: { historySize: 10, historyTtl: "1 minute" }
})

const Pair = Channel.make("a:{x}-{y}", { params: { x: Schema.String, y: Schema.String }, receive: Schema.String })

const at = new Date(0)
const epoch = "1970-01-01T00:00:00.000Z"

const left = <A, E>(either: Either.Either<A, E>): E => Either.getOrThrowWith(Either.flip(either), () => "it is right")

const code = <A, R>(effect: Effect.Effect<A, ProtocolError | Disconnect, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.code)

const reason = <A, R>(effect: Effect.Effect<A, ProtocolError | Disconnect, R>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.code} ${error.reason}`)

describe("names", () => {
  it("are written and read", () => {
    assert.strictEqual(Room.name({ id: 7 }), "chat:room-7")
    assert.deepStrictEqual(Room.match("chat:room-7"), Option.some({ id: 7 }))
    assert.strictEqual(Pair.name({ x: "1", y: "2-3" }), "a:1-2-3")
    assert.deepStrictEqual(Pair.match("a:1-2-3"), Option.some({ x: "1", y: "2-3" }))
    const Lobby = Channel.make("lobby", { receive: Schema.String })
    assert.strictEqual(Lobby.name({}), "lobby")
    assert.deepStrictEqual(Lobby.match("lobby"), Option.some({}))
    assert.deepStrictEqual(Lobby.match("lobby2"), Option.none())
    const Dialog = Channel.make("$talk:#{a},{b}", {
      params: { a: Schema.String, b: Schema.String },
      receive: Schema.Any
    })
    assert.deepStrictEqual(Dialog.match(Dialog.name({ a: "ada", b: "bob" })), Option.some({ a: "ada", b: "bob" }))
  })

  it("literal text is literal", () => {
    const Odd = Channel.make("a.b:(x)*{id}+$", { params: { id: Schema.String }, receive: Schema.String })
    assert.deepStrictEqual(Odd.match(Odd.name({ id: "1" })), Option.some({ id: "1" }))
    assert.isFalse(Odd.matches("a-b:(x)*1+$"))
    assert.isFalse(Odd.matches("a.b:x1+$"))
  })

  it("have the form of the pattern, or do not", () => {
    for (const name of ["chat:room-1", "chat:room-x", "chat:room--"]) assert.isTrue(Room.matches(name), name)
    for (
      const name of [
        "",
        "chat:room-",
        "chat:room-1:2",
        "chat:room-1#2",
        "chat:room-1,2",
        "chat:room-é",
        "Chat:room-1",
        "xchat:room-1",
        `chat:room-${"1".repeat(246)}`
      ]
    ) {
      assert.isFalse(Room.matches(name), name)
    }
    assert.isTrue(Room.matches(`chat:room-${"1".repeat(245)}`))
  })

  it("a parameter that its schema refuses is named, and so is one that is written in another way", () => {
    assert.strictEqual(
      left(Room.decodeName("chat:room-x")).reason,
      "bad request: id: Unable to decode \"x\" into a number"
    )
    assert.strictEqual(left(Room.decodeName("chat:room-NaN")).reason, "bad request: id: \"NaN\" is not equal to itself")
    assert.strictEqual(left(Room.decodeName("chat:room-07")).reason, "bad request: id: expected \"7\", actual \"07\"")
    assert.deepStrictEqual(Room.match("chat:room-07"), Option.none())
    assert.strictEqual(
      left(Room.decodeName("chat:other")).reason,
      "bad request: the channel's name is not of the form chat:room-{id}"
    )
  })

  it("what cannot be written back is refused, with a reason", () => {
    const Open = Channel.make("{id}", { params: { id: Schema.String }, receive: Schema.String })
    const Lossy = Channel.make("n:{id}", {
      params: {
        id: Schema.transform(Schema.String, Schema.Number, {
          decode: Number,
          encode: (id) => String(Math.round(id))
        })
      },
      receive: Schema.String
    })
    const said = <P>(channel: Channel.Channel<P, string>, params: P) => {
      const error = left(channel.encodeName(params))
      assert.strictEqual(error.code, 107)
      assert.throws(() => channel.name(params), RangeError, channel.pattern)
      return error.reason
    }
    const of = (x: string, y = "1") => said(Pair, { x, y })
    for (const x of ["", "a:b", "a#b", "a,b", "é", "😀"]) assert.include(of(x), "x: a parameter is 1 or more ASCII")
    assert.include(of("1", "2,3"), "y: a parameter is 1 or more ASCII")
    assert.include(of("1-2"), "x: \"1-2\" and the text around it could be read in another way")
    assert.include(of("1".repeat(300)), "1 to 255 characters")
    assert.include(said(Open, { id: "$x" }), "private")
    assert.include(said(Lossy, { id: 1.5 }), "is read as another")
    assert.strictEqual(Lossy.name({ id: 2 }), "n:2")
    assert.strictEqual(left(Room.encodeName({ id: NaN })).code, 107)
  })

  it("a pattern that cannot be throws where it is defined", () => {
    const wrong = (pattern: string, params: ReadonlyArray<string>, what: string) =>
      assert.throws(
        () =>
          Channel.make(pattern, {
            params: Object.fromEntries(params.map((name) => [name, Schema.String])),
            receive: Schema.String
          }),
        RangeError,
        what
      )
    wrong("", [], "is empty")
    wrong("a:{x}{y}", ["x", "y"], "no text between")
    wrong("a:{x}-{x}", ["x"], "names the parameter x twice")
    wrong("a:{x", ["x"], "no parameter follows")
    wrong("a:{}", [], "no parameter follows")
    wrong("a:{1x}", ["1x"], "no parameter follows")
    wrong("a:x}", [], "a } without a {")
    wrong("a:é{x}", ["x"], "not ASCII")
    wrong(`a:${"x".repeat(253)}{x}`, ["x"], "more than 255")
    wrong("a:{x}", [], "no schema for its parameter x")
    wrong("a:{x}", ["x", "y"], "has no parameter y")
  })

  const numRuns = process.env["TEST_LONG"] === undefined ? 500 : 20_000
  /** Few characters, so that what is ambiguous is found. */
  const text = fc.string({ unit: fc.constantFrom("a", "b", "-", "$", ":", "#", ",", "é"), maxLength: 5 })
  const plain = fc.string({ unit: fc.constantFrom("a", "b", "-", "ab"), minLength: 1, maxLength: 4 })
  const Texts = ["a:{x}-{y}", "{x}ab{y}", "a:{x}--{y}", "{x}:{y}", "aa{x}aa{y}aa", "#{x},{y}:b"].map((pattern) =>
    Channel.make<typeof pattern, string, string, { x: typeof Schema.String; y: typeof Schema.String }>(pattern, {
      params: { x: Schema.String, y: Schema.String },
      receive: Schema.String
    })
  )
  const channel = fc.constantFrom(...Texts)
  const params = fc.oneof(fc.record({ x: text, y: text }), fc.record({ x: plain, y: plain }))

  it("match(name(params)) is params, and no two params give one name", () => {
    let named = 0
    fc.assert(
      fc.property(channel, params, params, (channel, one, other) => {
        const name = channel.encodeName(one)
        if (Either.isLeft(name)) return
        named++
        assert.deepStrictEqual(channel.match(name.right), Option.some(one))
        if (one.x === other.x && one.y === other.y) return
        assert.notDeepEqual(channel.encodeName(other), name)
      }),
      { numRuns }
    )
    assert.isAbove(named, numRuns / 5)
  })

  it("the same for numbers, booleans and literals", () => {
    const Mixed = Channel.make("m:{n}/{b}.{l}", {
      params: { n: Schema.NumberFromString, b: Schema.BooleanFromString, l: Schema.Literal("eu", "us.1") },
      receive: Schema.String
    })
    const n = fc.oneof(fc.integer(), fc.double({ noNaN: true }).filter((n) => !Object.is(n, -0)))
    fc.assert(
      fc.property(
        fc.record({ n, b: fc.boolean(), l: fc.constantFrom("eu" as const, "us.1" as const) }),
        (params) => assert.deepStrictEqual(Mixed.match(Mixed.name(params)), Option.some(params))
      ),
      { numRuns }
    )
  })

  it("a name that can be written in any way has one reading, and that is written as it", () => {
    let matched = 0
    const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
    fc.assert(
      fc.property(channel, params, (channel, { x, y }) => {
        const name = channel.pattern.replace("{x}", () => x).replace("{y}", () => y)
        const source = channel.pattern.split(/\{.\}/).map(escape).join("[^:#,\\x80-\\uffff]+")
        const expected = new RegExp(`^${source}$`).test(name) &&
          !(channel.pattern.startsWith("{") && name.startsWith("$"))
        assert.strictEqual(channel.matches(name), expected, name)
        if (!expected) return
        matched++
        assert.deepStrictEqual(Option.map(channel.match(name), channel.name), Option.some(name))
      }),
      { numRuns }
    )
    assert.isAbove(matched, numRuns / 5)
  })

  it("the longest name with many parameters is read at once", () => {
    const Long = Channel.make("{a}-{b}-{c}-{d}-{e}-{f}-{g}-{h}:end", {
      params: {
        a: Schema.String,
        b: Schema.String,
        c: Schema.String,
        d: Schema.String,
        e: Schema.String,
        f: Schema.String,
        g: Schema.String,
        h: Schema.String
      },
      receive: Schema.String
    })
    assert.isFalse(Long.matches("-".repeat(255)))
  })
})

describe("messages", () => {
  it.effect("are published encoded, with the options", () =>
    Effect.gen(function*() {
      const position = yield* Channel.publish(Room, { id: 7 }, { _tag: "Said", text: "hi", at }, { tags: { a: "b" } })
      assert.deepStrictEqual(position, Option.some({ offset: 1, epoch: "e" }))
      const { published } = yield* Recording
      assert.deepStrictEqual(published, [
        { channel: "chat:room-7", data: { _tag: "Said", text: "hi", at: epoch }, options: { tags: { a: "b" } } }
      ])
    }).pipe(Effect.provide(recording)))

  it.effect("that the schema or the name refuses are 107, and are not published", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* reason(Channel.publish(Room, { id: 7 }, { _tag: "Said", text: "x".repeat(11), at })),
        "107 bad request: text: Expected a string at most 10 character(s) long, actual \"xxxxxxxxxxx\""
      )
      assert.strictEqual(yield* code(Channel.publish(Room, { id: NaN }, { _tag: "Said", text: "hi", at })), 107)
      assert.deepStrictEqual((yield* Recording).published, [])
    }).pipe(Effect.provide(recording)))

  it.effect("are read decoded, from the stream and from the history", () =>
    Effect.gen(function*() {
      for (const text of ["one", "two"]) yield* Channel.publish(Room, { id: 7 }, { _tag: "Said", text, at })
      yield* Channel.publish(Room, { id: 8 }, { _tag: "Said", text: "elsewhere", at })
      const two = { data: { _tag: "Said", text: "two", at }, offset: 2 }
      const since = { offset: 1, epoch: "e" }
      assert.deepStrictEqual(Array.from(yield* Stream.runCollect(Channel.subscribe(Room, { id: 7 }, { since }))), [two])
      const { publications, ...position } = yield* Channel.history(Room, { id: 7 })
      assert.deepStrictEqual(publications[1], two)
      assert.deepStrictEqual(position, { offset: 2, epoch: "e" })
      assert.lengthOf((yield* Channel.history(Room, { id: 7 }, { limit: 1 })).publications, 1)
      assert.strictEqual(yield* code(Channel.history(Room, { id: NaN })), 107)
      assert.strictEqual(yield* code(Stream.runDrain(Channel.subscribe(Room, { id: NaN }))), 107)
    }).pipe(Effect.provide(recording)))

  it.effect("of another kind, that someone published by name, are 107 where they are read", () =>
    Effect.gen(function*() {
      const channels = yield* Channels
      yield* Channel.publish(Room, { id: 7 }, { _tag: "Said", text: "one", at })
      yield* channels.publish("chat:room-7", { _tag: "Shouted" })
      const read: Array<string> = []
      const stream = Channel.subscribe(Room, { id: 7 }).pipe(
        Stream.runForEach(({ data }) => Effect.sync(() => read.push(data.text)))
      )
      assert.strictEqual(
        yield* reason(stream),
        "107 bad request: _tag: Expected \"Said\", actual \"Shouted\""
      )
      assert.deepStrictEqual(read, ["one"])
      assert.strictEqual(yield* code(Channel.history(Room, { id: 7 })), 107)
    }).pipe(Effect.provide(recording)))

  it("are encoded and decoded by a client with the same definition", () => {
    const sent = Room.send.encode({ _tag: "Say", text: "hi" })
    assert.deepStrictEqual(sent, Either.right({ _tag: "Say", text: "hi" }))
    assert.strictEqual(left(Room.send.encode({ _tag: "Say", text: "" })).code, 107)
    assert.deepStrictEqual(
      Room.receive.decode({ _tag: "Said", text: "hi", at: epoch }),
      Either.right({ _tag: "Said", text: "hi", at })
    )
    assert.deepStrictEqual(Room.join.encode({ nick: "ada" }), Either.right({ nick: "ada" }))
    assert.deepStrictEqual(Pair.join.encode([1]), Either.right([1]))
    assert.strictEqual(left(Pair.send.decode("x")).code, 103)
  })

  it("a sentence about wrong data is short, whatever the data", () => {
    const { reason } = left(Room.send.decode({ _tag: "x".repeat(60_000) }))
    assert.isBelow(reason.length, 500)
    const Told = Channel.make("told", {
      receive: Schema.String.annotations({ message: () => "one line\n  and another" })
    })
    assert.strictEqual(left(Told.receive.decode(1)).reason, "bad request: one line and another")
  })
})

class Taken extends Data.TaggedError("Taken")<{ readonly nick: string }> {}
class TooLoud extends Schema.TaggedError<TooLoud>()("TooLoud", { text: Schema.String }) {}

class Loudness extends Context.Tag("test/Loudness")<Loudness, number>() {}

const RoomHandler = Channel.handler(Room, {
  join: ({ caller, data, params }) =>
    data.nick === "bob"
      ? Effect.fail(new Taken({ nick: data.nick }))
      : Effect.succeed({ info: { nick: data.nick, user: caller.user, room: params.id } }),
  handle: ({ message }) =>
    Effect.gen(function*() {
      if (message._tag === "Leave") return
      if (message.text.length > (yield* Loudness)) return yield* new TooLoud({ text: message.text })
      return { _tag: "Said", text: message.text, at }
    }),
  onError: (error) =>
    error._tag === "Taken"
      ? new ProtocolError({ code: 409, reason: `${error.nick} is taken`, temporary: false })
      : new Disconnect({ code: 4500, reason: "too loud" })
})

const served = Layer.provideMerge(RoomHandler, Layer.merge(recording, Layer.succeed(Loudness, 5)))

describe("a handler", () => {
  it.effect("grants, with decoded parameters and data", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.deepStrictEqual(yield* client.join("chat:room-7", { nick: "ada" }), {
        info: { nick: "ada", user: "ada", room: 7 }
      })
    }).pipe(Effect.provide(served)))

  it.effect("gets decoded messages; what it yields is published, and nothing otherwise", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.deepStrictEqual(
        yield* client.send("chat:room-7", { _tag: "Say", text: "hi" }),
        Option.some({ _tag: "Said", text: "hi", at: epoch })
      )
      assert.deepStrictEqual(yield* client.send("chat:room-7", { _tag: "Leave" }), Option.none())
    }).pipe(Effect.provide(served)))

  it.effect("does not see what is wrong: 107, which says what", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.deepStrictEqual(
        yield* Effect.all([
          reason(client.join("chat:room-7", { nick: "" })),
          reason(client.join("chat:room-7")),
          reason(client.join("chat:room-x", { nick: "ada" })),
          reason(client.send("chat:room-07", { _tag: "Leave" })),
          reason(client.send("chat:room-7", { _tag: "Shout" })),
          reason(client.send("chat:room-7", { _tag: "Say" }))
        ]),
        [
          "107 bad request: nick: Expected a non empty string, actual \"\"",
          "107 bad request: Expected { readonly nick: NonEmptyString }, actual undefined",
          "107 bad request: id: Unable to decode \"x\" into a number",
          "107 bad request: id: expected \"7\", actual \"07\"",
          "107 bad request: _tag: Expected \"Say\" | \"Leave\", actual \"Shout\"",
          "107 bad request: text: is missing"
        ]
      )
    }).pipe(Effect.provide(served)))

  it.effect("refuses by typed errors that become codes", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.strictEqual(yield* reason(client.join("chat:room-7", { nick: "bob" })), "409 bob is taken")
      const loud = yield* Effect.flip(client.send("chat:room-7", { _tag: "Say", text: "HELLO!" }))
      assert.instanceOf(loud, Disconnect)
      assert.strictEqual(loud.code, 4500)
    }).pipe(Effect.provide(served)))

  const joining = <E>(join: () => Effect.Effect<void, E>, onError: (error: unknown) => ProtocolError | Disconnect) =>
    Layer.provideMerge(Channel.handler(Room, { join, onError }), recording)
  const mapped = new ProtocolError({ code: 400, reason: "mapped", temporary: false })

  it.effect("codes of the protocol pass as they are", () =>
    Effect.gen(function*() {
      for (
        const error of [new ProtocolError({ code: 401, reason: "x", temporary: true }), new Disconnect({ code: 4000 })]
      ) {
        const answer = Effect.flatMap(Recording, (client) => client.join("chat:room-7", { nick: "ada" })).pipe(
          Effect.provide(joining(() => Effect.fail(error), () => mapped))
        )
        assert.strictEqual(yield* Effect.flip(answer), error)
      }
    }))

  it.effect("without `handle` clients publish nothing: 103", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.strictEqual(yield* code(client.send("chat:room-7", { _tag: "Leave" })), 103)
      assert.deepStrictEqual(yield* client.join("chat:room-7", { nick: "ada" }), {})
    }).pipe(Effect.provide(joining(() => Effect.void, () => mapped))))

  it.effect("a defect is logged once, and is 100", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.make(({ cause }) => void logs.push(Cause.pretty(cause).split("\n")[0] ?? ""))
      const join = (layer: Layer.Layer<Channels | Recording>) =>
        Effect.flatMap(Recording, (client) => client.join("chat:room-7", { nick: "ada" })).pipe(
          reason,
          Effect.provide([layer, Logger.replace(Logger.defaultLogger, logger)])
        )
      const boom = (): never => {
        throw new Error("boom")
      }
      const answers = [
        yield* join(joining(() => Effect.die(new Error("died")), () => mapped)),
        yield* join(joining(boom, () => mapped)),
        yield* join(joining(() => Effect.fail("mapped by what throws"), boom))
      ]
      assert.deepStrictEqual(answers, Array.from({ length: 3 }, () => "100 internal server error"))
      assert.deepStrictEqual(logs, ["Error: died", "Error: boom", "Error: boom"])
    }))

  it.effect("what it yields and its own schema refuses is its defect, and not the client's", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      assert.strictEqual(yield* code(client.send("chat:room-7", { _tag: "Say", text: "hi" })), 100)
    }).pipe(
      Effect.provide(Layer.provideMerge(
        Channel.handler(Room, {
          join: () => Effect.void,
          handle: () => Effect.succeed({ _tag: "Said", text: "x".repeat(11), at })
        }),
        recording
      )),
      Logger.withMinimumLogLevel(LogLevel.None)
    ))

  it.effect("is registered for as long as its layer lives", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      const scope = yield* Scope.make()
      yield* Scope.extend(Layer.build(Layer.provide(RoomHandler, Layer.succeed(Loudness, 5))), scope)
      assert.lengthOf(client.handlers, 1)
      assert.deepStrictEqual(yield* client.send("chat:room-7", { _tag: "Leave" }), Option.none())
      assert.strictEqual(yield* code(client.send("chat:hall-7", { _tag: "Leave" })), 103)
      yield* Scope.close(scope, Exit.void)
      assert.lengthOf(client.handlers, 0)
      assert.strictEqual(yield* code(client.send("chat:room-7", { _tag: "Leave" })), 103)
    }).pipe(Effect.provide(recording)))

  it.effect("its services come from the layer, and its span from the caller", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const Spy = Channel.handler(Room, {
        join: () =>
          Effect.gen(function*() {
            const span = yield* Effect.serviceOption(Tracer.ParentSpan)
            seen.push(
              `${yield* Loudness} ${Option.match(span, { onNone: () => "none", onSome: (span) => span.spanId })}`
            )
          })
      }).pipe(Layer.provide(Layer.succeed(Loudness, 1)), Layer.withSpan("building"))
      yield* Effect.gen(function*() {
        const client = yield* Recording
        const join = Effect.provideService(client.join("chat:room-7", { nick: "ada" }), Loudness, 2)
        yield* join
        yield* Effect.withParentSpan(join, Tracer.externalSpan({ spanId: "caller", traceId: "t" }))
      }).pipe(Effect.provide(Layer.provideMerge(Spy, recording)))
      assert.deepStrictEqual(seen, ["1 none", "1 caller"])
    }))

  it.effect("a scope that `handle` requires closes when it is done", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const note = (event: string) => Effect.sync(() => void events.push(event))
      const Scoped = Channel.handler(Room, {
        join: () => Effect.void,
        handle: () => Effect.zipRight(Effect.addFinalizer(() => note("released")), note("handled"))
      })
      yield* Effect.gen(function*() {
        const client = yield* Recording
        yield* client.send("chat:room-7", { _tag: "Leave" }, ada)
        yield* note("answered")
      }).pipe(Effect.provide(Layer.provideMerge(Scoped, recording)))
      assert.deepStrictEqual(events, ["handled", "released", "answered"])
    }))

  it.effect("a schema that throws is a defect of the application: 100, in the log", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.make(({ cause }) => void logs.push(Cause.pretty(cause).split("\n")[0] ?? ""))
      const Number = Schema.transform(Schema.String, Schema.BigIntFromSelf, { decode: BigInt, encode: String })
      const Counted = Channel.make("count:{n}", {
        params: { n: Schema.String },
        send: Number,
        join: Number,
        receive: Schema.String
      })
      const handler = Channel.handler(Counted, { join: () => Effect.void, handle: () => Effect.void })
      yield* Effect.gen(function*() {
        const client = yield* Recording
        assert.strictEqual(yield* code(client.join("count:a", "one")), 100)
        assert.strictEqual(yield* code(client.send("count:a", "two")), 100)
      }).pipe(Effect.provide([
        Layer.provideMerge(handler, recording),
        Logger.replace(Logger.defaultLogger, logger)
      ]))
      assert.deepStrictEqual(logs, [
        "SyntaxError: Cannot convert one to a BigInt",
        "SyntaxError: Cannot convert two to a BigInt"
      ])
    }))
})

describe("a handler whose layer closes", () => {
  const { allowPublishForAnonymous, allowPublishForClient } = open
  const options = { allowPublishForAnonymous, allowPublishForClient }
  const Open = Channel.make("open:{id}", { params: { id: Schema.String }, receive: Schema.String, options })
  type Handlers = Parameters<typeof Channel.handler<{ id: string }, string, never, unknown>>[1]

  const serving = (channels: Channels["Type"], handlers: Handlers) =>
    Layer.provide(Channel.handler(Open, handlers), Layer.succeed(Channels, channels))

  it.scopedLive("leaves its channels to nobody: clients try again, and nothing is published undecoded", () =>
    Effect.gen(function*() {
      const server = yield* serve(Channel.namespaces(Open))
      const layer = serving(server.channels, { join: () => Effect.void })
      const [older, newer] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.extend(Layer.build(layer), older)
      yield* Scope.extend(Layer.build(Layer.fresh(layer)), newer)
      const client = yield* connected(server)
      const publish = refusal(() => client.client.publish("open:a", { garbage: 1 }))
      yield* Scope.close(newer, Exit.void)
      // The other one still decides.
      yield* client.subscribe("open:a")
      assert.strictEqual(yield* publish, 103)
      yield* Scope.close(older, Exit.void)
      assert.strictEqual(yield* publish, 100)
      const sub = client.sub("open:b")
      assert.strictEqual((yield* sub.next("error")).error.code, 100)
      yield* Layer.build(layer)
      yield* sub.next("subscribed")
      assert.deepStrictEqual(sub.heard("unsubscribed"), [])
      assert.strictEqual(yield* publish, 103)
    }))

  it.effect("waits for what it runs for clients, but not for ever", () =>
    Effect.gen(function*() {
      const client = yield* Recording
      const events: Array<string> = []
      const note = (event: string) => Effect.sync(() => void events.push(event))
      const go = yield* Deferred.make<void>()
      const layer = Layer.provide(
        serving(yield* Channels, {
          join: ({ params }) => Effect.zipRight(params.id === "a" ? Deferred.await(go) : Effect.never, note("joined"))
        }),
        Layer.scopedDiscard(Effect.addFinalizer(() => note("services are gone")))
      )
      const closing = (channel: string) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          yield* Scope.extend(Layer.build(layer), scope)
          yield* Effect.fork(client.join(channel))
          yield* Effect.yieldNow()
          const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
          yield* TestClock.adjust("1999 millis")
          assert.lengthOf(client.handlers, 0)
          assert.deepStrictEqual(events, [])
          return closing
        })
      const first = yield* closing("open:a")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(first)
      assert.deepStrictEqual(events.splice(0), ["joined", "services are gone"])
      const second = yield* closing("open:b")
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(second)
      assert.deepStrictEqual(events, ["services are gone"])
    }).pipe(Effect.provide(recording)))
})

describe("what `join` acquires", () => {
  const Open = Channel.make("open:{id}", { params: { id: Schema.String }, receive: Schema.String, options: {} })
  const refused = new ProtocolError({ code: 403, reason: "refused", temporary: false })

  /** A server whose handler acquires by the name of the channel, and what became of it. */
  const serving = (hub: HubConfig.HubOptions = {}) =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const note = (event: string) => Effect.sync(() => void events.push(event))
      const joining = yield* Deferred.make<void>()
      const handler = Channel.handler(Open, {
        join: ({ params: { id } }) =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(note(`${id} acquired`), () => note(`${id} released`))
            if (id === "no") return yield* refused
            if (id === "bad") yield* Effect.addFinalizer(() => Effect.die(new Error("bad")))
            if (id === "stuck") yield* Effect.addFinalizer(() => Effect.never)
            if (id !== "slow") return
            yield* Deferred.succeed(joining, undefined)
            return yield* Effect.onInterrupt(Effect.never, () => note("slow interrupted"))
          })
      })
      const server = yield* serve({ ...Channel.namespaces(Open), hub })
      yield* Layer.build(Layer.provide(handler, Layer.succeed(Channels, server.channels)))
      return { ...server, events, joining }
    })

  it.scopedLive("is released when the client unsubscribes, and when it is refused", () =>
    Effect.gen(function*() {
      const { events, ...server } = yield* serving()
      const client = yield* connected(server)
      const { sub } = yield* client.subscribe("open:a")
      yield* client.settled
      assert.deepStrictEqual(events, ["a acquired"])
      sub.unsubscribe()
      yield* client.settled
      assert.deepStrictEqual(events.splice(0), ["a acquired", "a released"])
      assert.strictEqual((yield* client.sub("open:no").next("unsubscribed")).code, 403)
      yield* client.settled
      assert.deepStrictEqual(events.splice(0), ["no acquired", "no released"])
      // Refused after the handler has granted it.
      server.faults.broken.add("subscribe")
      yield* client.sub("open:b").next("error")
      yield* client.settled
      assert.deepStrictEqual(events.slice(0, 2), ["b acquired", "b released"])
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))

  it.scopedLive("stays where the server's code is none of an unsubscribe: error 107", () =>
    Effect.gen(function*() {
      const { events, ...server } = yield* serving()
      const client = yield* user(server, "ada")
      const a = yield* client.subscribe("open:a")
      for (const code of [0, 1, 1999, 3000, 2000.5, NaN]) {
        const given = { unsubscribe: { code, reason: "go" } }
        const error = yield* Effect.flip(server.channels.unsubscribe("ada", "open:a", given))
        assert.deepInclude(error, { code: 107, reason: "bad request: an unsubscribe code is from 2000 to 2999" })
      }
      yield* client.settled
      assert.deepStrictEqual(events, ["a acquired"])
      yield* server.channels.unsubscribe("ada", "open:a", { unsubscribe: { code: 2499, reason: "go" } })
      assert.deepInclude(yield* a.next("unsubscribed"), { code: 2499, reason: "go" })
    }))

  it.scopedLive("is released when the server takes the subscription, and when the client is gone", () =>
    Effect.gen(function*() {
      const { events, joining, ...server } = yield* serving({ closeGrace: "50 millis" })
      const client = yield* user(server, "ada")
      const a = yield* client.subscribe("open:a")
      yield* client.subscribe("open:b")
      yield* server.channels.unsubscribe("ada", "open:a")
      yield* a.next("unsubscribed")
      assert.deepStrictEqual(events, ["a acquired", "b acquired", "a released"])
      client.sub("open:slow")
      yield* Deferred.await(joining)
      client.client.disconnect()
      yield* until(() => server.hub.size.pipe(Effect.runSync) === 0)
      assert.deepStrictEqual(events.slice(3).sort(), [
        "b released",
        "slow acquired",
        "slow interrupted",
        "slow released"
      ])
    }))

  it.scopedLive("is released although a finalizer fails, and the client does not wait for one that is stuck", () =>
    Effect.gen(function*() {
      const logs: Array<string> = []
      const logger = Logger.make(({ cause }) => void logs.push(Cause.pretty(cause).split("\n")[0] ?? ""))
      yield* Effect.gen(function*() {
        const { events, ...server } = yield* serving({ closeGrace: "50 millis" })
        const client = yield* connected(server)
        for (const id of ["bad", "stuck"]) {
          const { sub } = yield* client.subscribe(`open:${id}`)
          sub.unsubscribe()
          // It is answered, and not given up on.
          assert.strictEqual(yield* refusal(() => client.client.rpc("nobody answers", null)), 108)
        }
        assert.deepStrictEqual(events, ["bad acquired", "bad released", "stuck acquired"])
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.deepStrictEqual(logs, ["Error: bad"])
    }))
})

describe("options", () => {
  const options = { historySize: 10, historyTtl: "1 minute" }
  it("are collected by namespace", () => {
    const Hall = Channel.make("$chat:hall", { receive: Schema.String, options: { ...options } })
    const Lobby = Channel.make("lobby-{id}", {
      params: { id: Schema.String },
      receive: Schema.String,
      options: { presence: true }
    })
    assert.deepStrictEqual(Channel.namespaces(Room, Pair, Hall, Lobby), {
      withoutNamespace: { presence: true },
      namespaces: { chat: options }
    })
  })

  it("that disagree, or belong to no namespace, throw", () => {
    const Other = Channel.make("chat:hall", { receive: Schema.String, options: { presence: true } })
    assert.throws(() => Channel.namespaces(Room, Other), RangeError, "other options")
    const Any = Channel.make("{kind}:x", { params: { kind: Schema.String }, receive: Schema.String, options })
    assert.throws(() => Channel.namespaces(Any), RangeError, "a parameter")
  })
})
