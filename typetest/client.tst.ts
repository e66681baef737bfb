import { Context, Data, Effect, type Layer, Schema, type Scope, type Stream } from "effect"
import { describe, expect, test } from "tstyche"
import { WebSocket } from "ws"
import * as Channel from "../src/channels/ChannelDefinition.js"
import type { ProtocolError } from "../src/channels/ProtocolCode.js"
import * as Client from "../src/client/Client.js"
import * as ClientChannel from "../src/client/ClientChannel.js"
import type {
  ConnectionError,
  Gap,
  Malformed,
  SlowReader,
  Unanswered,
  Unsubscribed
} from "../src/client/ClientError.js"
import type { Event, History, Published, Subscription } from "../src/client/Subscription.js"

type Said = { readonly _tag: "Said"; readonly by: string; readonly at: Date }
type Left = { readonly _tag: "Left" }
type Say = { readonly _tag: "Say"; readonly text: string } | { readonly _tag: "Wave" }

const Room = Channel.make("chat:room-{id}", {
  params: { id: Schema.NumberFromString },
  receive: Schema.Union(
    Schema.TaggedStruct("Said", { by: Schema.String, at: Schema.Date }),
    Schema.TaggedStruct("Left", {})
  ),
  send: Schema.Union(Schema.TaggedStruct("Say", { text: Schema.String }), Schema.TaggedStruct("Wave", {})),
  join: Schema.Struct({ nick: Schema.String })
})
const Lobby = Channel.make("lobby", { receive: Schema.String })

class Session extends Context.Tag("Session")<Session, { readonly token: string }>() {}
class Offline extends Data.TaggedError("Offline")<{}> {}

const join = { data: { nick: "ada" } }
const getToken: Effect.Effect<string, Offline, Session | Scope.Scope> = Effect.map(Session, ({ token }) => token)

declare const room: Subscription<Said | Left, Say, Malformed>
declare const client: Client.Client["Type"]

describe("a client", () => {
  test("requires what its tokens do, but for a scope", () => {
    expect(Client.layer({ url: "" })).type.toBe<Layer.Layer<Client.Client, ConnectionError>>()
    expect(Client.layer({ url: "", getToken })).type.toBe<Layer.Layer<Client.Client, ConnectionError, Session>>()
    expect(Client.make({ url: "", getToken })).type.toBe<
      Effect.Effect<Client.Client["Type"], ConnectionError, Scope.Scope | Session>
    >()
    // @ts-expect-error Property 'url' is missing
    Client.layer({})
    // @ts-expect-error Type 'number' is not assignable to type
    Client.layer({ url: "", getToken: Effect.succeed(1) })
  })

  test("takes the constructors of browsers and of ws", () => {
    expect(Client.layer).type.toBeCallableWith({ url: "", websocket: WebSocket })
    // @ts-expect-error is not assignable to type 'WebSocketConstructor'
    Client.layer({ url: "", websocket: {} })
  })

  test("subscribes to any channel by name, for as long as a scope lives", () => {
    expect(client.subscribe("x")).type.toBe<
      Effect.Effect<Subscription, ProtocolError | Unsubscribed | ConnectionError, Scope.Scope>
    >()
    expect(client.subscribe("x", { getToken })).type.toBe<
      Effect.Effect<Subscription, ProtocolError | Unsubscribed | ConnectionError, Scope.Scope | Session>
    >()
    expect(client.rpc("x")).type.toBe<Effect.Effect<unknown, ProtocolError | Unanswered | ConnectionError>>()
  })
})

describe("a typed channel", () => {
  test("has what its definition says", () => {
    expect(ClientChannel.subscribe(Room, { id: 7 }, join)).type.toBe<
      Effect.Effect<
        Subscription<Said | Left, Say, Malformed>,
        ProtocolError | Unsubscribed | ConnectionError,
        Client.Client | Scope.Scope
      >
    >()
    expect(ClientChannel.subscribe(Lobby, {})).type.toBe<
      Effect.Effect<
        Subscription<string, never, Malformed>,
        ProtocolError | Unsubscribed | ConnectionError,
        Client.Client | Scope.Scope
      >
    >()
    expect(ClientChannel.stream(Room, { id: 7 }, { ...join, getToken })).type.toBe<
      Stream.Stream<
        Published<Said | Left>,
        ProtocolError | Unsubscribed | ConnectionError | SlowReader | Gap | Malformed,
        Client.Client | Session
      >
    >()
    expect(ClientChannel.publish(Room, { id: 7 }, { _tag: "Wave" })).type.toBe<
      Effect.Effect<void, ProtocolError | Unanswered | ConnectionError, Client.Client>
    >()
    expect(ClientChannel.history(Room, { id: 7 })).type.toBe<
      Effect.Effect<History<Said | Left>, ProtocolError | Unanswered | ConnectionError | Malformed, Client.Client>
    >()
  })

  test("gives decoded events", () => {
    expect(room.events).type.toBe<
      Stream.Stream<Event<Said | Left>, ProtocolError | Unsubscribed | ConnectionError | SlowReader | Malformed>
    >()
    // A gap is an event of the one, and a failure of the other.
    expect(room.publications).type.toBe<
      Stream.Stream<
        Published<Said | Left>,
        ProtocolError | Unsubscribed | ConnectionError | SlowReader | Gap | Malformed
      >
    >()
  })

  test("takes what clients send, and nothing else", () => {
    expect(room.publish({ _tag: "Say", text: "hi" })).type.toBe<
      Effect.Effect<void, ProtocolError | Unanswered | ConnectionError | Unsubscribed>
    >()
    // @ts-expect-error Type '"Sad"' is not assignable to type
    void room.publish({ _tag: "Sad", text: "hi" })
    // @ts-expect-error Property 'text' is missing
    void room.publish({ _tag: "Say" })
    // @ts-expect-error Type '"Sad"' is not assignable to type
    void ClientChannel.publish(Room, { id: 7 }, { _tag: "Sad", text: "hi" })
    // What subscribers get is not what clients send.
    // @ts-expect-error Type '"Left"' is not assignable to type
    void ClientChannel.publish(Room, { id: 7 }, { _tag: "Left" })
    // @ts-expect-error Argument of type '"hi"' is not assignable to parameter of type 'never'
    void ClientChannel.publish(Lobby, {}, "hi")
  })

  test("is named by its parameters", () => {
    // @ts-expect-error Type 'string' is not assignable to type 'number'
    void ClientChannel.publish(Room, { id: "7" }, { _tag: "Wave" })
    // @ts-expect-error Property 'id' is missing
    void ClientChannel.subscribe(Room, {}, join)
  })

  test("asks for what is sent along, where the definition says what", () => {
    // @ts-expect-error Expected 3 arguments, but got 2
    void ClientChannel.subscribe(Room, { id: 7 })
    // @ts-expect-error Type 'number' is not assignable to type 'string'
    void ClientChannel.subscribe(Room, { id: 7 }, { data: { nick: 7 } })
    // @ts-expect-error Property 'data' is missing
    void ClientChannel.subscribe(Room, { id: 7 }, { joinLeave: true })
    expect(ClientChannel.stream(Lobby, {}, { data: "anything" })).type.toBe<
      Stream.Stream<
        Published<string>,
        ProtocolError | Unsubscribed | ConnectionError | SlowReader | Gap | Malformed,
        Client.Client
      >
    >()
  })
})
