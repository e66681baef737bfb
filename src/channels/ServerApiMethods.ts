/**
 * What the methods of the server API do: parameters in, result out, both as they stand in JSON.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Disconnect } from "../core/HubError.js"
import type { Override } from "./Authenticator.js"
import type { Answered, Channels, PublishOptions } from "./Channels.js"
import { badRequest, notAvailable, type ProtocolError } from "./ProtocolCode.js"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"
import { type MethodName, requests, results } from "./ServerApi.js"

type Service = typeof Channels.Service

/** @internal */
export type Method = (
  channels: Service,
  params: unknown
) => Effect.Effect<unknown, ProtocolError | Disconnect>

/** A path that a caller made up may be long. */
const shorten = (path: string): string => path.length > 64 ? `${path.slice(0, 64)}…` : path

const sentence = (issue: ParseResult.ParseIssue): string => {
  const first = ParseResult.ArrayFormatter.formatIssueSync(issue)[0]
  if (first === undefined) return "the parameters are wrong"
  const path = first.path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : i === 0 ? String(key) : `.${String(key)}`
  ).join("")
  return `${path === "" ? "the parameters" : shorten(path)} ${first.message}`
}

/**
 * Decodes parameters: error 107 with a sentence that names what is wrong.
 *
 * @internal
 */
export const decode = <A, I>(schema: Schema.Schema<A, I>) => {
  const parse = Schema.decodeUnknownEither(schema)
  return (params: unknown): Either.Either<A, ProtocolError> =>
    Predicate.isRecord(params)
      ? Either.mapLeft(parse(params), (error) => badRequest(sentence(error.issue)))
      : Either.left(badRequest("the parameters must be a JSON object"))
}

/** The schema of the result is for its type only: what is built here is the wire form already. */
const method = <A, I, B, J>(
  request: Schema.Schema<A, I>,
  _result: Schema.Schema<B, J>,
  run: (channels: Service, request: A) => Effect.Effect<J, ProtocolError | Disconnect>
): Method => {
  const parse = decode(request)
  return (channels, params) => Effect.flatMap(parse(params), (request) => run(channels, request))
}

const present = (value: string | undefined): string | undefined => value === "" ? undefined : value

/** Ignoring it would do more than what was asked for: to all connections of the user. */
const unsupported = (field: string, value: string | undefined): Effect.Effect<void, ProtocolError> =>
  value === undefined || value === ""
    ? Effect.void
    : notAvailable(`${field} is not supported`)

const fromBase64 = (field: string, encoded: string): Either.Either<unknown, ProtocolError> =>
  Encoding.decodeBase64(encoded).pipe(
    Either.flatMap((bytes) =>
      Either.try(() => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown)
    ),
    Either.mapLeft(() => badRequest(`${field} must be JSON text in base64`))
  )

/** `undefined` if neither is there. */
const jsonOf = (
  field: string,
  plain: unknown,
  encoded: string | undefined
): Either.Either<unknown, ProtocolError> =>
  encoded === undefined || encoded === "" ? Either.right(plain) : fromBase64(`b64${field}`, encoded)

interface Publishing {
  readonly data?: unknown
  readonly b64data?: string | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  readonly skip_history?: boolean | undefined
  readonly idempotency_key?: string | undefined
  readonly version?: number | undefined
  readonly version_epoch?: string | undefined
}

const publishing = (
  request: Publishing
): Effect.Effect<{ readonly data: unknown; readonly options: PublishOptions }, ProtocolError> =>
  Effect.gen(function*() {
    const data = yield* jsonOf("data", request.data, request.b64data)
    if (data === undefined) return yield* badRequest("data is missing")
    return {
      data,
      options: {
        tags: request.tags,
        skipHistory: request.skip_history,
        idempotencyKey: present(request.idempotency_key),
        version: request.version === 0 ? undefined : request.version,
        versionEpoch: present(request.version_epoch)
      }
    }
  })

const published = (position: Option.Option<StreamPosition>) =>
  Option.match(position, { onNone: () => ({}), onSome: ({ epoch, offset }) => ({ offset, epoch }) })

/** @internal */
export const errorObject = (error: ProtocolError) => ({ code: error.code, message: error.reason })

/** Fields that are zero are left out, as everywhere in the protocol. */
const clientInfo = ({ chanInfo, client, connInfo, user }: ClientInfo) => ({
  user,
  client,
  ...(connInfo === undefined ? {} : { conn_info: connInfo }),
  ...(chanInfo === undefined ? {} : { chan_info: chanInfo })
})

const publication = ({ data, info, offset, tags }: Publication) => ({
  data,
  ...(info === undefined ? {} : { info: clientInfo(info) }),
  ...(offset === 0 ? {} : { offset }),
  ...(tags === undefined ? {} : { tags })
})

/** Own properties, whatever the keys: an assignment to `__proto__` would not make one. */
const object = <A, B>(entries: ReadonlyMap<string, A>, f: (value: A) => B): Readonly<Record<string, B>> =>
  Object.fromEntries(Array.from(entries, ([key, value]) => [key, f(value)]))

const since = (position: { readonly offset?: number | undefined; readonly epoch?: string | undefined } | undefined) =>
  position === undefined ? undefined : { offset: position.offset ?? 0, epoch: position.epoch ?? "" }

const expiry = (seconds: number | undefined) => seconds === 0 ? undefined : seconds

interface Value {
  readonly value: boolean
}

const override = (
  given: {
    readonly presence?: Value | undefined
    readonly join_leave?: Value | undefined
    readonly force_push_join_leave?: Value | undefined
    readonly force_recovery?: Value | undefined
    readonly force_positioning?: Value | undefined
  } | undefined
): Override | undefined =>
  given && {
    presence: given.presence?.value,
    joinLeave: given.join_leave?.value,
    forcePushJoinLeave: given.force_push_join_leave?.value,
    forceRecovery: given.force_recovery?.value,
    forcePositioning: given.force_positioning?.value
  }

const done = <E>(effect: Effect.Effect<unknown, E>) => Effect.as(effect, {})

/** Said only where there is something to say. */
const lacking = ({ missing }: Answered) => missing.length === 0 ? {} : { missing }

const answered = <E>(effect: Effect.Effect<Answered, E>) => Effect.map(effect, lacking)

const table: Readonly<Record<MethodName, Method>> = {
  publish: method(
    requests.publish,
    results.publish,
    (channels, request) =>
      Effect.flatMap(
        publishing(request),
        ({ data, options }) => Effect.map(channels.publish(request.channel, data, options), published)
      )
  ),

  broadcast: method(
    requests.broadcast,
    results.broadcast,
    (channels, request) =>
      Effect.flatMap(
        publishing(request),
        ({ data, options }) =>
          Effect.map(channels.broadcast(request.channels, data, options), (all) => ({
            responses: all.map(Either.match({
              onLeft: (error) => ({ error: errorObject(error) }),
              onRight: (position) => ({ result: published(position) })
            }))
          }))
      )
  ),

  subscribe: method(requests.subscribe, results.subscribe, (channels, request) =>
    Effect.gen(function*() {
      yield* unsupported("session", request.session)
      return yield* answered(channels.subscribeUser(request.user, request.channel, {
        client: present(request.client),
        info: yield* jsonOf("info", request.info, request.b64info),
        data: yield* jsonOf("data", request.data, request.b64data),
        expireAt: expiry(request.expire_at),
        recoverSince: since(request.recover_since),
        override: override(request.override)
      }))
    })),

  unsubscribe: method(requests.unsubscribe, results.unsubscribe, (channels, request) =>
    Effect.zipRight(
      unsupported("session", request.session),
      answered(channels.unsubscribe(request.user, request.channel, { client: present(request.client) }))
    )),

  disconnect: method(requests.disconnect, results.disconnect, (channels, request) =>
    Effect.zipRight(
      unsupported("session", request.session),
      answered(channels.disconnect(request.user, {
        client: present(request.client),
        except: request.whitelist,
        disconnect: request.disconnect && new Disconnect(request.disconnect)
      }))
    )),

  refresh: method(requests.refresh, results.refresh, (channels, request) =>
    Effect.zipRight(
      unsupported("session", request.session),
      answered(channels.refresh(request.user, {
        client: present(request.client),
        expired: request.expired,
        expireAt: expiry(request.expire_at),
        info: request.info
      }))
    )),

  presence: method(
    requests.presence,
    results.presence,
    (channels, { channel }) =>
      Effect.map(channels.presence(channel), (clients) => ({ presence: object(clients, clientInfo) }))
  ),

  presence_stats: method(
    requests.presence_stats,
    results.presence_stats,
    (channels, { channel }) =>
      Effect.map(channels.presenceStats(channel), ({ clients, users }) => ({ num_clients: clients, num_users: users }))
  ),

  history: method(requests.history, results.history, (channels, request) =>
    Effect.gen(function*() {
      const from = since(request.since)
      if (request.reverse === true && from?.offset === 0) {
        return yield* badRequest("nothing comes before since.offset 0: reverse needs an offset of 1 or more")
      }
      const limit = request.limit ?? 0
      const { epoch, offset, publications } = yield* channels.history(request.channel, {
        limit: limit === -1 ? undefined : limit,
        since: from,
        reverse: request.reverse
      })
      return { publications: publications.map(publication), offset, epoch }
    })),

  history_remove: method(
    requests.history_remove,
    results.history_remove,
    (channels, { channel }) => done(channels.removeHistory(channel))
  ),

  channels: method(
    requests.channels,
    results.channels,
    (channels, { pattern }) =>
      Effect.map(channels.channels(present(pattern)), (found) => ({
        channels: object(found.channels, ({ clients }) => ({ num_clients: clients })),
        ...lacking(found)
      }))
  ),

  info: method(requests.info, results.info, (channels) =>
    Effect.map(channels.info, (found) => ({
      nodes: found.nodes.map((node) => ({
        uid: node.uid,
        name: node.name,
        version: node.version,
        num_clients: node.clients,
        num_users: node.users,
        num_channels: node.channels,
        num_subs: node.subscriptions,
        uptime: Math.floor(node.uptime)
      })),
      ...lacking(found)
    }))),

  rpc: method(
    requests.rpc,
    results.rpc,
    (channels, request) => Effect.map(channels.call(request.method, request.params), (data) => ({ data }))
  )
}

/**
 * By name: a `Map`, since names come from outside.
 *
 * @internal
 */
export const methods: ReadonlyMap<string, Method> = new Map(Object.entries(table))
