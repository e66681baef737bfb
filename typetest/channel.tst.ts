import { Data, Effect, type Layer, type Option, Schema, type Scope, type Stream } from "effect"
import { Disconnect } from "effect-ws-hub"
import { describe, expect, test } from "tstyche"
import * as Channel from "../src/channels/Channel.js"
import type { Caller, Channels } from "../src/channels/Channels.js"
import type { ProtocolError } from "../src/channels/ProtocolCode.js"
import { errors } from "../src/channels/ProtocolCode.js"
import type { StreamPosition } from "../src/channels/Publication.js"

type Id = { readonly id: number }
type Said = { readonly _tag: "Said"; readonly by: string; readonly text: string }
type Left = { readonly _tag: "Left" }

const Room = Channel.make("chat:room-{id}", {
  params: { id: Schema.NumberFromString },
  receive: Schema.Union(
    Schema.TaggedStruct("Said", { by: Schema.String, text: Schema.String }),
    Schema.TaggedStruct("Left", {})
  ),
  send: Schema.Struct({ text: Schema.NonEmptyString }),
  join: Schema.Struct({ nick: Schema.String })
})
const Lobby = Channel.make("lobby", { receive: Schema.String })

class Taken extends Data.TaggedError("Taken")<{}> {}
class Banned extends Schema.TaggedError<Banned>()("Banned", {}) {}
class Users extends Effect.Service<Users>()("Users", { succeed: { count: 0 } }) {}

describe("a definition", () => {
  test("has the types of its schemas", () => {
    expect<Channel.Params<typeof Room>>().type.toBe<Id>()
    expect<Channel.Receive<typeof Room>>().type.toBe<Said | Left>()
    expect<Channel.Send<typeof Room>>().type.toBe<{ readonly text: string }>()
    expect(Room.match("")).type.toBe<Option.Option<Id>>()
    expect(Room.name).type.toBe<(params: Id) => string>()
    expect(Lobby).type.toBe<Channel.Channel<Readonly<Record<string, never>>, string>>()
  })

  test("a parameter may be any schema that is written as a string", () => {
    const region = Channel.make("{kind}:{region}", {
      params: { kind: Schema.Literal("a", "b"), region: Schema.String.pipe(Schema.brand("Region")) },
      receive: Schema.Date
    })
    expect(region.name).type.toBeCallableWith({
      kind: "a" as const,
      region: Schema.String.pipe(Schema.brand("Region")).make("eu")
    })
    expect<Channel.Params<typeof region>["kind"]>().type.toBe<"a" | "b">()
  })

  const receive = Schema.String
  test("has a schema for each parameter, and for no other", () => {
    // @ts-expect-error Property 'params' is missing
    Channel.make("a:{x}", { receive })
    // @ts-expect-error Property 'y' is missing
    Channel.make("a:{x}-{y}", { params: { x: Schema.String }, receive })
    // @ts-expect-error is not assignable to type '"the pattern has no such parameter"'
    Channel.make("a:{x}", { params: { x: Schema.String, y: Schema.String }, receive })
    // @ts-expect-error is not assignable to type '"the pattern has no such parameter"'
    Channel.make("a:x", { params: { x: Schema.String }, receive })
    // @ts-expect-error is not assignable to type '"the schema of a parameter encodes to a string"'
    Channel.make("a:{x}", { params: { x: Schema.Number }, receive })
  })

  test("needs no services", () => {
    const needy = Schema.transformOrFail(Schema.String, Schema.String, {
      decode: (text) => Effect.as(Users, text),
      encode: Effect.succeed
    })
    // @ts-expect-error Type 'Users' is not assignable to type 'never'
    Channel.make("a", { receive: needy })
    // @ts-expect-error Type 'Users' is not assignable to type 'never'
    Channel.make("a:{x}", { params: { x: needy }, receive })
  })
})

describe("publish, subscribe, history", () => {
  test("take what subscribers get, and nothing else", () => {
    expect(Channel.publish(Room, { id: 7 }, { _tag: "Said", by: "ada", text: "hi" })).type.toBe<
      Effect.Effect<Option.Option<StreamPosition>, ProtocolError, Channels>
    >()
    // @ts-expect-error Type '"Sad"' is not assignable to type
    void Channel.publish(Room, { id: 7 }, { _tag: "Sad", by: "ada", text: "hi" })
    // @ts-expect-error Property 'text' is missing
    void Channel.publish(Room, { id: 7 }, { _tag: "Said", by: "ada" })
    // @ts-expect-error is missing the following properties from type
    void Channel.publish(Room, { id: 7 }, { text: "hi" })
    // @ts-expect-error Type 'string' is not assignable to type 'number'
    void Channel.publish(Room, { id: "7" }, { _tag: "Left" })
    // @ts-expect-error Property 'id' is missing
    void Channel.publish(Room, {}, { _tag: "Left" })
    void Channel.publish(Lobby, {}, "hi")
    // @ts-expect-error Type 'number' is not assignable to type 'never'
    void Channel.publish(Lobby, { id: 7 }, "hi")
    // @ts-expect-error Argument of type 'string' is not assignable to parameter of type
    void Channel.publish(Lobby, "lobby", "hi")
  })

  test("give decoded data", () => {
    expect(Channel.subscribe(Room, { id: 7 })).type.toBe<
      Stream.Stream<Channel.Received<Said | Left>, ProtocolError, Channels>
    >()
    expect(Channel.history(Room, { id: 7 })).type.toBe<
      Effect.Effect<Channel.History<Said | Left>, ProtocolError, Channels>
    >()
  })
})

describe("a handler", () => {
  test("gets decoded parameters, data and messages, and yields what subscribers get", () => {
    Channel.handler(Room, {
      join: ({ caller, data, params }) => {
        expect(caller).type.toBe<Caller>()
        expect(data).type.toBe<{ readonly nick: string }>()
        expect(params).type.toBe<Id>()
        return Effect.succeed({ info: data.nick })
      },
      handle: ({ message, params }) => {
        expect(message).type.toBe<{ readonly text: string }>()
        expect(params).type.toBe<Id>()
        return Effect.succeed({ _tag: "Said", by: "ada", text: message.text })
      }
    })
    Channel.handler(Room, {
      join: () => Effect.void,
      handle: ({ message }) =>
        Effect.gen(function*() {
          if (message.text === "") return
          return { _tag: "Said", by: `${(yield* Users).count}`, text: message.text }
        })
    })
    Channel.handler(Lobby, {
      join: ({ data, params }) => {
        expect(data).type.toBe<unknown>()
        expect(params).type.toBe<Readonly<Record<string, never>>>()
        return Effect.void
      }
    })
  })

  test("a wrong `_tag` is one error, and names it", () => {
    Channel.handler(Room, {
      join: () => Effect.void,
      // @ts-expect-error Type '"Sad"' is not assignable to type
      handle: ({ message }) => Effect.succeed({ _tag: "Sad", by: "ada", text: message.text })
    })
    Channel.handler(Room, {
      join: () => Effect.void,
      // @ts-expect-error Type '"Sad"' is not assignable to type
      handle: ({ message }) =>
        Effect.gen(function*() {
          yield* Effect.void
          return { _tag: "Sad", by: "ada", text: message.text }
        })
    })
  })

  test("its requirements are the layer's, but for a scope", () => {
    type Needs<R> = Layer.Layer<never, never, Channels | R>
    const scoped: Effect.Effect<void, never, Users | Scope.Scope> = Effect.addFinalizer(() => Effect.void)
    expect(Channel.handler(Room, { join: () => Effect.void })).type.toBe<Needs<never>>()
    expect(Channel.handler(Room, { join: () => scoped })).type.toBe<Needs<Users>>()
    expect(Channel.handler(Room, { join: () => Effect.void, handle: () => scoped })).type.toBe<Needs<Users>>()
  })

  test("its failures are mapped, all of them, but for codes of the protocol", () => {
    const mapped = Channel.handler(Room, {
      join: ({ data }) =>
        Effect.gen(function*() {
          if (data.nick === "") return yield* errors.permissionDenied
          return yield* new Taken()
        }),
      handle: ({ message }) => message.text === "" ? Effect.fail(new Banned()) : Effect.void,
      onError: (error) => {
        expect(error).type.toBe<Taken | Banned>()
        return errors.conflict
      }
    })
    expect(mapped).type.toBe<Layer.Layer<never, never, Channels>>()
    const codes = Channel.handler(Room, {
      join: ({ data }) => data.nick === "" ? Effect.fail(errors.conflict) : Effect.void,
      handle: ({ message }) => Effect.fail(new Disconnect({ code: 4000, reason: message.text }))
    })
    expect(codes).type.toBe<Layer.Layer<never, never, Channels>>()
    // @ts-expect-error Property 'onError' is missing
    Channel.handler(Room, { join: () => new Taken() })
    // @ts-expect-error Property 'onError' is missing
    Channel.handler(Room, { join: () => Effect.void, handle: () => new Banned() })
    // @ts-expect-error Type 'string' is not assignable to type
    Channel.handler(Room, { join: () => new Taken(), onError: (error) => error._tag })
  })
})
