/**
 * What the methods of the server API do: parameters in, result out, both as they stand in JSON.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Schema from "effect/Schema"
import { Disconnect } from "../core/HubError.js"
import type { Answered, Channels } from "./Channels.js"
import { badRequest, type ProtocolError } from "./ProtocolCode.js"
import { decode, expiry, jsonOf, override, present, publishing, since, unsupported } from "./ServerApiParams.js"
import { clientInfo, errorObject, lacking, object, publication, published } from "./ServerApiResults.js"
import { type MethodName, requests, results } from "./ServerApiSchema.js"

type Service = typeof Channels.Service

/** @internal */
export type Method = (
  channels: Service,
  params: unknown
) => Effect.Effect<unknown, ProtocolError | Disconnect>

/** The schema of the result is for its type only: what is built here is the wire form already. */
const method = <A, I, B, J>(
  request: Schema.Schema<A, I>,
  _result: Schema.Schema<B, J>,
  run: (channels: Service, request: A) => Effect.Effect<J, ProtocolError | Disconnect>
): Method => {
  const parse = decode(request)
  return (channels, params) => Effect.flatMap(parse(params), (request) => run(channels, request))
}

const done = <E>(effect: Effect.Effect<unknown, E>) => Effect.as(effect, {})

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
