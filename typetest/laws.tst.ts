import { type Context, Effect, type Layer, type Scope } from "effect"
import type {
  CloseReason,
  Connection,
  Handler,
  HubConfig,
  HubUnavailable,
  InvalidOption,
  TooManyConnections,
  Transport
} from "effect-ws-hub"
import { Disconnect, Hub } from "effect-ws-hub"
import { HubTest } from "effect-ws-hub/testing"
import { describe, expect, test } from "tstyche"

/** The keys that may be missing, or hold nothing. */
type Uncertain<A> = {
  [K in keyof A]-?: {} extends Pick<A, K> ? K : null extends A[K] ? K : undefined extends A[K] ? K : never
}[keyof A]

class Rooms extends Effect.Service<Rooms>()("Rooms", { succeed: { count: 0 } }) {}
class Users extends Effect.Service<Users>()("Users", { succeed: { count: 0 } }) {}

declare const hub: Context.Tag.Service<typeof Hub.Hub>
declare const transport: Transport<{ readonly name: string }>

describe("L1: nothing is late", () => {
  test("no member of the hub is optional or may be nothing", () => {
    expect<Uncertain<Context.Tag.Service<typeof Hub.Hub>>>().type.toBe<never>()
  })

  test("nor one of a connection, its handshake, its transport and the hub's limits", () => {
    expect<Uncertain<Connection>>().type.toBe<never>()
    expect<Uncertain<Connection["handshake"]>>().type.toBe<"principal">()
    expect<Uncertain<Connection<{ readonly name: string }>["handshake"]>>().type.toBe<never>()
    expect<Uncertain<Transport<string>>>().type.toBe<never>()
    expect<Uncertain<HubConfig.HubConfig>>().type.toBe<never>()
  })

  test("the hub's layer needs nothing", () => {
    expect(Hub.layer()).type.toBe<Layer.Layer<Hub.Hub, InvalidOption>>()
  })
})

describe("a handler's requirements, failures and principal", () => {
  type Refused = HubUnavailable | TooManyConnections
  type Named = { readonly name: string }

  test("what it requires is required where it is handed over, but for its Scope", () => {
    const handler: Handler<Named, Disconnect, Rooms | Scope.Scope> = () =>
      Effect.zipRight(Effect.addFinalizer(() => Effect.void), Effect.asVoid(Rooms))
    expect(hub.accept(transport, handler)).type.toBe<Effect.Effect<Connection<Named>, Refused, Rooms>>()
    expect(hub.serve(transport, handler, { greeting: () => Users })).type.toBe<
      Effect.Effect<CloseReason.CloseReason, Refused, Rooms | Users>
    >()
  })

  test("the principal is the one that the transport brings, and failures are mapped by one function", () => {
    const accepted = hub.accept(
      transport,
      (connection) => {
        expect(connection.handshake.principal).type.toBe<Named>()
        return Effect.fail("a" as const)
      },
      {
        greeting: () => Effect.fail("b" as const),
        onFailure: (error) => {
          expect(error).type.toBe<"a" | "b">()
          return new Disconnect({ code: 4000, reason: error })
        }
      }
    )
    expect(accepted).type.toBe<Effect.Effect<Connection<Named>, Refused>>()
  })

  test("a test's peer brings its principal too", () => {
    const connected = HubTest.connect({ principal: { name: "ada" }, handler: () => Rooms })
    expect(connected).type.toBe<Effect.Effect<HubTest.Connected<{ name: string }>, Refused, Hub.Hub | Rooms>>()
    expect(HubTest.connect()).type.toBe<Effect.Effect<HubTest.Connected, Refused, Hub.Hub>>()
  })
})
