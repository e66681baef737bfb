/**
 * The channels service over a hub, a broker, presence and an authenticator.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Connection } from "../core/Connection.js"
import type { Hub } from "../core/Hub.js"
import type { Disconnect, InvalidOption } from "../core/HubError.js"
import type { Authenticator } from "./Authenticator.js"
import type { Broker } from "./Broker.js"
import { type Caller, Channels } from "./Channels.js"
import type { ChannelsOptions } from "./ChannelsConfig.js"
import * as Control from "./Control.js"
import * as Everywhere from "./Everywhere.js"
import * as Expiry from "./Expiry.js"
import * as HandlerRuntime from "./HandlerRuntime.js"
import type { Listener } from "./LocalChannel.js"
import type { Namespace } from "./Namespace.js"
import * as Node from "./Node.js"
import * as NodeControl from "./NodeControl.js"
import type { Presence } from "./Presence.js"
import {
  badRequest,
  disconnects,
  errors,
  internalError,
  notJson,
  ProtocolError,
  spoken,
  unsubscribes
} from "./ProtocolCode.js"
import { stringify } from "./ProtocolReply.js"
import type { Publication, StreamPosition } from "./Publication.js"
import * as Recovery from "./Recovery.js"
import { Session } from "./Session.js"
import { Slices } from "./Slices.js"

/** What decided about a channel has closed, as a rule since the server does: the client comes again. */
const unhandled = new ProtocolError({ code: 100, reason: "nobody serves the channel just now", temporary: true })

/** Who calls by the server API. */
const server: Caller = { client: "", user: "", info: undefined, meta: undefined, connection: undefined }

type Handler<A, R> = (data: unknown, caller: Caller) => Effect.Effect<A, ProtocolError | Disconnect, R>

/** Publications that a reader in this process may be behind. */
const mostUnread = 4096

const subscribe = (
  node: Node.Node,
  channel: string,
  namespace: Namespace,
  since: StreamPosition | undefined
): Effect.Effect<Stream.Stream<Publication, ProtocolError>, ProtocolError, Scope.Scope> =>
  Effect.gen(function*() {
    const queue = yield* Queue.unbounded<Either.Either<Recovery.Live, ProtocolError> | "end">()
    const lost = () => queue.unsafeOffer(Either.left(errors.unrecoverablePosition))
    const listener: Listener = {
      onLive: (live) => {
        const unread = queue.unsafeSize()
        if (unread._tag === "None" || unread.value > mostUnread) return
        if (unread.value === mostUnread) lost()
        else queue.unsafeOffer(Either.right(live))
      },
      onGap: lost,
      onEnd: () => queue.unsafeOffer("end")
    }
    if (node.isClosed) listener.onEnd()
    // First, since a broker that fails leaves the listener there.
    yield* Effect.addFinalizer(() => node.faults.attempt("leave a channel", node.members.unlisten(channel, listener)))
    yield* Effect.mapError(node.members.listen(channel, namespace, listener), internalError)
    let at: StreamPosition | undefined = undefined
    let missed: ReadonlyArray<Publication<string>> = []
    if (since !== undefined) {
      const start = Recovery.stream(since, yield* node.read(channel, namespace, { since }))
      if (!start.recovered) return yield* errors.unrecoverablePosition
      missed = start.publications
      at = start.position
    }
    const follow = ({ epoch, publication }: Recovery.Live): Stream.Stream<Publication<string>, ProtocolError> => {
      const { offset } = publication
      if (offset === 0) return Stream.succeed(publication)
      if (at !== undefined) {
        if (epoch !== at.epoch || offset > at.offset + 1) return Stream.fail(errors.unrecoverablePosition)
        if (offset <= at.offset) return Stream.empty
      }
      at = { offset, epoch }
      return Stream.succeed(publication)
    }
    const live = Stream.fromQueue(queue).pipe(
      Stream.takeWhile((heard) => heard !== "end"),
      Stream.flatMap(Either.match({ onLeft: (error) => Stream.fail(error), onRight: follow }))
    )
    return Stream.map(Stream.concat(Stream.fromIterable(missed), live), Node.parsed)
  })

/** Publications of a broadcast that wait for the broker at once: those of one turn go to Redis together. */
const together = 100

/** Whether the URL of a handshake asks for the protocol's binary form. */
const asksForProtobuf = (url: string): boolean => {
  const start = url.indexOf("?")
  if (start < 0) return false
  const query = new URLSearchParams(url.slice(start))
  return query.get("format") === "protobuf" || query.get("cf_protocol") === "protobuf"
}

/** Clients take what is below for their own doing, and what is above for nothing that they know. */
const isUnsubscribeCode = (code: number): boolean => Number.isInteger(code) && code >= 2000 && code <= 2999

/**
 * Builds the service in the current scope. When the scope closes, its clients are drained with 3001 while broker and
 * presence are still there. The error names the option that is wrong.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (
  options: ChannelsOptions = {}
): Effect.Effect<Channels["Type"], InvalidOption, Hub | Broker | Presence | Authenticator | Scope.Scope> =>
  Effect.map(Node.make(options), (node) => {
    const inNamespace = <A>(
      channel: string,
      use: (namespace: Namespace) => Effect.Effect<A, ProtocolError>
    ): Effect.Effect<A, ProtocolError> => Effect.flatMap(Effect.suspend(() => node.namespaceOf(channel)), use)

    const publish: Channels["Type"]["publish"] = (channel, data, options = {}) =>
      inNamespace(
        channel,
        (namespace) => node.publisher.publish(channel, namespace, data, options, undefined, Option.fromNullable)
      )

    const withPresence = <A>(channel: string, use: Effect.Effect<A, ProtocolError>) =>
      inNamespace(channel, (namespace) => namespace.presence ? use : Effect.fail(errors.notAvailable))

    const serve = (connection: Connection): Effect.Effect<void, Disconnect> =>
      Effect.suspend(() => {
        if (node.isClosed) return Effect.fail(disconnects.shutdown)
        if (asksForProtobuf(connection.handshake.url)) return Effect.fail(disconnects.inappropriateProtocol)
        const session = new Session(node, connection)
        // An interrupt between the two would leave the session in the roster.
        const open = Effect.suspend(() => {
          node.roster.open(session)
          return Scope.addFinalizer(connection.scope, session.end)
        })
        return Effect.zipRight(
          Effect.uninterruptible(open),
          Effect.ensuring(
            Effect.mapError(connection.runForEach(session.onMessage), spoken),
            Effect.sync(() => node.roster.leave(session))
          )
        )
      })

    return Channels.of({
      publish,
      broadcast: (channels, data, options) =>
        Effect.suspend(() => {
          if (stringify(data) === undefined) return Effect.fail(notJson)
          const slices = new Slices()
          return Effect.forEach(
            channels,
            (channel) => Effect.zipRight(slices.next, Effect.either(publish(channel, data, options))),
            { concurrency: together }
          )
        }),
      subscribe: (channel, options = {}) =>
        Stream.unwrapScoped(
          Effect.flatMap(
            Effect.suspend(() => node.namespaceOf(channel)),
            (namespace) => subscribe(node, channel, namespace, options.since)
          )
        ),
      history: (channel, options = {}) =>
        inNamespace(
          channel,
          (namespace) =>
            options.limit !== undefined && !(Number.isSafeInteger(options.limit) && options.limit >= 0)
              ? badRequest(`a limit is a whole number, not ${options.limit}`)
              : Effect.map(node.history(channel, namespace, options), ({ position, publications }) => ({
                ...position,
                publications: publications.map(Node.parsed)
              }))
        ),
      removeHistory: (channel) =>
        inNamespace(channel, (namespace) =>
          namespace.stream === undefined
            ? Effect.fail(errors.notAvailable)
            : Effect.mapError(node.broker.removeHistory(channel), internalError)),
      presence: (channel) => withPresence(channel, node.presenceOf(channel)),
      presenceStats: (channel) => withPresence(channel, node.statsOf(channel)),
      disconnect: (user, { client, disconnect: { code, reason } = disconnects.force, except = [] } = {}) => {
        const request = new Control.Disconnect({ user, client, code, reason, except })
        return Everywhere.count(node, request, Effect.sync(() => NodeControl.disconnect(node, request)))
      },
      unsubscribe: (user, channel, { client, unsubscribe: { code, reason } = unsubscribes.server } = {}) =>
        inNamespace(channel, () => {
          if (!isUnsubscribeCode(code)) return Effect.fail(badRequest("an unsubscribe code is from 2000 to 2999"))
          const request = new Control.Unsubscribe({ user, channel, client, code, reason })
          return Everywhere.count(node, request, NodeControl.unsubscribe(node, request))
        }),
      subscribeUser: (user, channel, { client, data, expireAt, info, override, recoverSince: since } = {}) =>
        inNamespace(channel, () => {
          if (Expiry.isOver({ expireAt }, node.unixTime())) return Effect.fail(errors.expired)
          const wrong = data === undefined ? undefined : node.sizeProblem(stringify(data))
          if (wrong !== undefined) return Effect.fail(wrong)
          const request = new Control.SubscribeUser({ user, channel, client, data, expireAt, info, override, since })
          return Everywhere.count(node, request, NodeControl.subscribe(node, request))
        }),
      refresh: (user, { client, expireAt, expired, info } = {}) => {
        const request = new Control.Refresh({ user, client, expireAt, expired, info })
        return Everywhere.count(node, request, Effect.sync(() => NodeControl.refresh(node, request)))
      },
      channels: (pattern = "*") => {
        const request = new Control.FindChannels({ pattern })
        const here = Effect.sync(() => NodeControl.channels(node, request))
        return Effect.map(Everywhere.everywhere(node, request, here), ({ missing, results }) => {
          const channels = new Map<string, { readonly clients: number }>()
          for (const [name, clients] of results.flat()) {
            channels.set(name, { clients: clients + (channels.get(name)?.clients ?? 0) })
          }
          return { channels, missing }
        })
      },
      info: Effect.map(
        Everywhere.everywhere(node, new Control.Info(), Effect.sync(() => NodeControl.info(node))),
        ({ missing, results }) => ({ nodes: results, missing })
      ),
      rpc: <R>(method: string, handler: Handler<unknown, R>) =>
        Effect.flatMap(
          HandlerRuntime.make<R>(),
          (run) => node.rpcs.add({ method, run: (data, caller) => run(handler(data, caller)) })
        ),
      call: (method, data, caller = server) =>
        Effect.suspend(() => node.answersCalls ? node.call(method, data, caller) : Effect.fail(errors.methodNotFound)),
      onMessage: <R>(handler: Handler<void, R>) =>
        Effect.flatMap(
          HandlerRuntime.make<R>(),
          (run) => node.receivers.add((data, caller) => run(handler(data, caller)))
        ),
      send: (client, data) =>
        Effect.suspend(() => {
          const text = stringify(data)
          const wrong = node.sizeProblem(text)
          if (text === undefined || wrong !== undefined) return Effect.fail(wrong ?? notJson)
          const request = new Control.Send({ client, data: text })
          const here = Effect.sync(() => NodeControl.send(node, request))
          return Effect.map(Everywhere.everywhere(node, request, here, Boolean), ({ missing, results }) => ({
            sent: results.some(Boolean),
            missing
          }))
        }),
      register: (handler) =>
        node.handlers.add(handler, {
          key: handler.matches,
          entry: {
            matches: handler.matches,
            subscribe: () => Effect.fail(unhandled),
            publish: () => Effect.fail(unhandled)
          }
        }),
      serve
    })
  })

/**
 * Channels, for as long as the layer lives. Bind it to a constant: two calls are two services.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (
  options?: ChannelsOptions
): Layer.Layer<Channels, InvalidOption, Hub | Broker | Presence | Authenticator> =>
  Layer.scoped(Channels, make(options))
