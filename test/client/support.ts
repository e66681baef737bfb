/** What the tests of the client share: a client over sockets that a test can cut and count. */
import { Client, type ClientOptions, type Subscription } from "effect-ws-hub/client"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { WebSocket } from "ws"
import { type Claims, type Server, token } from "../channels/support.js"

/** The sockets of a client. */
export class Network {
  readonly sockets: Array<WebSocket> = []
  /** While it is, nobody is reached. */
  down = false

  readonly websocket: new(url: string) => WebSocket

  constructor() {
    // Named, so that it can be told from others in the constructor of its class.
    const network = this
    this.websocket = class extends WebSocket {
      constructor(url: string) {
        super(network.down ? "ws://127.0.0.1:1" : url)
        network.sockets.push(this)
      }
    }
  }

  /** Ends the connection without a word, as a network does. */
  readonly cut = Effect.sync(() => {
    for (const socket of this.sockets) socket.terminate()
  })

  /** Those that are not closed. */
  get open(): number {
    return this.sockets.filter(({ readyState }) => readyState !== WebSocket.CLOSED).length
  }
}

/** The SDK waits half a second before it tries again; nothing here is gained by that. */
export const hasty = { minReconnectDelay: 5, maxReconnectDelay: 20 }

export type Options<E, R> = Partial<ClientOptions<E, R>> & {
  readonly network?: Network
  readonly claims?: Claims
}

/** A client of a server, for as long as the scope lives. */
export const open = <E = never, R = never>(
  server: Pick<Server, "url">,
  { claims, network = new Network(), ...options }: Options<E, R> = {}
) =>
  Effect.orDie(Client.make<E, R>({
    url: server.url,
    websocket: network.websocket,
    ...hasty,
    ...(claims === undefined ? {} : { token: token(claims) }),
    ...options
  }))

/** The same, connected. */
export const connect = <E = never, R = never>(server: Pick<Server, "url">, options: Options<E, R> = {}) =>
  Effect.tap(open(server, options), (client) => client.connected)

/** The first elements of a stream. */
export const take = <A, E, R>(stream: Stream.Stream<A, E, R>, count: number) =>
  Effect.map(Stream.runCollect(Stream.take(stream, count)), Chunk.toReadonlyArray)

/** The data of the next publications. */
export const data = <A, S, E>(
  { publications }: Subscription<A, S, E>,
  count: number
) => Effect.map(take(publications, count), (all) => all.map((publication) => publication.data))

/** The next event. */
export const next = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.map(take(stream, 1), ([event]) => {
    if (event === undefined) throw new Error("The stream has ended.")
    return event
  })

/** What a stream fails with. */
export const failure = <A, E, R>(stream: Stream.Stream<A, E, R>) => Effect.flip(Stream.runDrain(stream))

/** What an effect fails with. */
export const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.flip(Effect.asVoid(effect))

/** Until something is so; the test's time is the limit. */
export const until = (holds: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() =>
    holds() ? Effect.void : Effect.zipRight(
      Effect.async<void>((resume) => {
        const immediate = setImmediate(() => resume(Effect.void))
        return Effect.sync(() => clearImmediate(immediate))
      }),
      until(holds)
    )
  )
