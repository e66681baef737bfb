/** `Channels` that keeps what it is asked, for tests of what stands on it. It has no namespaces and no protocol. */
import { Context, Effect, Either, Layer, Option, Scope, Stream } from "effect"
import type { Grant } from "../../../src/channels/Authenticator.js"
import { type Caller, type ChannelHandler, Channels, type PublishOptions } from "../../../src/channels/Channels.js"
import { errors, type ProtocolError } from "../../../src/channels/ProtocolCode.js"
import type { Publication } from "../../../src/channels/Publication.js"
import type { Disconnect } from "../../../src/core/HubError.js"

export interface Published {
  readonly channel: string
  readonly data: unknown
  readonly options: PublishOptions | undefined
}

type Answer<A> = Effect.Effect<A, ProtocolError | Disconnect>

/** What a test sees, and what it does as a client. */
export class Recording extends Context.Tag("test/Recording")<Recording, {
  readonly published: ReadonlyArray<Published>
  readonly handlers: ReadonlyArray<ChannelHandler>
  /** As a client, with the newest handler that matches; 103 if there is none. */
  readonly join: (channel: string, data?: unknown, caller?: Caller) => Answer<Grant>
  readonly send: (
    channel: string,
    data: unknown,
    caller?: Caller,
    isSubscriber?: boolean
  ) => Answer<Option.Option<unknown>>
}>() {}

export const ada: Caller = { client: "c1", user: "ada", info: undefined, meta: undefined, connection: undefined }

const unused = Effect.dieMessage("not part of this test")

export const layer: Layer.Layer<Channels | Recording> = Layer.effectContext(Effect.sync(() => {
  const published: Array<Published> = []
  const handlers: Array<ChannelHandler> = []
  const kept = (channel: string): ReadonlyArray<Publication> =>
    published.filter((one) => one.channel === channel).map(({ data, options }, at) => ({
      data,
      offset: at + 1,
      ...(options?.tags === undefined ? {} : { tags: options.tags })
    }))
  const find = (channel: string): Either.Either<ChannelHandler, ProtocolError> =>
    Either.fromOption(
      Option.fromNullable(handlers.filter((handler) => handler.matches(channel)).at(-1)),
      () => errors.permissionDenied
    )

  const recording = Recording.of({
    published,
    handlers,
    join: (channel, data, caller = ada) =>
      Effect.flatMap(
        Effect.all([find(channel), Scope.make()]),
        ([handler, scope]) => handler.subscribe({ channel, data, caller, scope })
      ),
    send: (channel, data, caller = ada, isSubscriber = true) =>
      Effect.flatMap(find(channel), (handler) => handler.publish({ channel, data, caller, isSubscriber }))
  })

  const channels = Channels.of({
    publish: (channel, data, options) =>
      Effect.sync(() => {
        published.push({ channel, data, options })
        return Option.some({ offset: kept(channel).length, epoch: "e" })
      }),
    // The publications so far: it ends where a real one waits.
    subscribe: (channel, options) =>
      Stream.suspend(() => Stream.fromIterable(kept(channel).slice(options?.since?.offset ?? 0))),
    history: (channel, options) =>
      Effect.sync(() => {
        const publications = kept(channel)
        return { publications: publications.slice(0, options?.limit), offset: publications.length, epoch: "e" }
      }),
    register: (handler) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          handlers.push(handler)
        }),
        () => Effect.sync(() => handlers.splice(handlers.indexOf(handler), 1))
      ),
    serve: () => unused,
    broadcast: () => unused,
    removeHistory: () => unused,
    presence: () => unused,
    presenceStats: () => unused,
    disconnect: () => unused,
    unsubscribe: () => unused,
    subscribeUser: () => unused,
    refresh: () => unused,
    channels: () => unused,
    info: unused,
    rpc: () => unused,
    call: () => unused,
    onMessage: () => unused,
    send: () => unused
  })
  return Context.make(Channels, channels).pipe(Context.add(Recording, recording))
}))
