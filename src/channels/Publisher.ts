/**
 * How a node publishes: at once, together with others of the same client, or joined within a window.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Coalesce from "../core/Coalesce.js"
import type { Hub } from "../core/Hub.js"
import type { InvalidOption } from "../core/HubError.js"
import type { Broker, BrokerPublish } from "./Broker.js"
import type { PublishOptions } from "./Channels.js"
import type { Faults } from "./Faults.js"
import type * as Namespace from "./Namespace.js"
import { badRequest, internalError, notAvailable, notJson, type ProtocolError } from "./ProtocolCode.js"
import { bytesOf, isWithin, stringify } from "./ProtocolReply.js"
import type { ClientInfo, StreamPosition } from "./Publication.js"
import type { UnderWay } from "./UnderWay.js"

const versionProblem = (
  { coalesceWindow }: Namespace.Namespace,
  { version, versionEpoch }: PublishOptions,
  { stream }: BrokerPublish
): ProtocolError | undefined =>
  version === undefined
    ? versionEpoch === undefined ? undefined : badRequest("an epoch of versions needs a version")
    : !Number.isSafeInteger(version) || version < 1
    ? badRequest(`a version must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, not ${version}`)
    : stream === undefined
    ? notAvailable("a version needs history")
    : coalesceWindow > 0
    ? notAvailable("a channel with a coalesceWindow has no versions")
    : undefined

/** With the data as JSON text, if they are JSON. */
const publicationOf = (
  namespace: Namespace.Namespace,
  data: unknown,
  options: PublishOptions,
  info: ClientInfo | undefined
): BrokerPublish | undefined => {
  const text = stringify(data)
  return text === undefined ? undefined : {
    data: text,
    info,
    tags: options.tags,
    stream: options.skipHistory === true ? undefined : namespace.stream,
    idempotencyKey: options.idempotencyKey,
    version: options.version === undefined
      ? undefined
      : { number: options.version, epoch: options.versionEpoch ?? "" }
  }
}

/** A key must be known to the broker, whatever comes after it; and what the history is to have is not for others to drop. */
const isReplacedBy = (earlier: BrokerPublish, later: BrokerPublish): boolean =>
  earlier.idempotencyKey === undefined && later.idempotencyKey === undefined &&
  (earlier.stream === undefined) === (later.stream === undefined)

/** @internal */
export class Publisher {
  private readonly broker: Broker["Type"]
  private readonly faults: Faults
  /** Of data, tags and the publisher's `info`; the rest is for the channel's name, the publisher's ids and the frame. */
  private readonly mostBytes: number
  private readonly infos = new WeakMap<object, number>()
  private readonly coalescers = new Map<string, Coalesce.Coalesce<BrokerPublish>>()

  /** `outboxBytes`: what is larger could be sent to nobody. */
  constructor(broker: Broker["Type"], faults: Faults, outboxBytes: number) {
    this.broker = broker
    this.mostBytes = outboxBytes - 1024
    this.faults = faults
  }

  /** Encodes the data when it is called, not when the effect runs; `done` makes the result of the position. */
  publish<A>(
    channel: string,
    namespace: Namespace.Namespace,
    data: unknown,
    options: PublishOptions,
    info: ClientInfo | undefined,
    done: (position: StreamPosition | undefined) => A
  ): Effect.Effect<A, ProtocolError> {
    const publication = publicationOf(namespace, data, options, info)
    if (publication === undefined) return Effect.fail(notJson)
    const refused = versionProblem(namespace, options, publication) ?? this.sizeProblem(publication)
    if (refused !== undefined) return Effect.fail(refused)
    const coalescer = namespace.coalesceWindow > 0 ? this.coalescers.get(namespace.name) : undefined
    return coalescer === undefined
      ? Effect.mapBoth(this.broker.publish(channel, publication), {
        onFailure: internalError,
        onSuccess: (position) => {
          this.faults.worked()
          return done(position)
        }
      })
      : Effect.map(coalescer.offer(channel, publication), () => done(undefined))
  }

  /** As `publish`, for a client whose publications are under way together. `id`: of the command. */
  together(
    channel: string,
    namespace: Namespace.Namespace,
    data: unknown,
    info: ClientInfo,
    underWay: UnderWay,
    id: number
  ): Effect.Effect<void, ProtocolError> {
    const publication = publicationOf(namespace, data, {}, info)
    if (publication === undefined) return Effect.fail(notJson)
    const refused = this.sizeProblem(publication)
    if (refused !== undefined) return Effect.fail(refused)
    return underWay.start(channel, publication, id)
  }

  /** Tags are not encoded for it: what their text has at most is taken instead. */
  private sizeProblem({ data, info, tags = {} }: BrokerPublish): ProtocolError | undefined {
    let units = 0
    for (const key in tags) units += key.length + (tags[key]?.length ?? 0) + 1
    const beside = units * 6 + this.infoBytes(info?.connInfo) + this.infoBytes(info?.chanInfo)
    return isWithin(this.mostBytes - beside, data)
      ? undefined
      : badRequest(
        `a publication, its tags and info included, has at most ${this.mostBytes} bytes, since outboxBytes is ${
          this.mostBytes + 1024
        }`
      )
  }

  /** What a client is said to be stays the same object from publication to publication. */
  private infoBytes(info: unknown): number {
    if (info === undefined) return 0
    if (typeof info !== "object" || info === null) return String(info).length * 6 + 2
    let bytes = this.infos.get(info)
    if (bytes === undefined) this.infos.set(info, bytes = bytesOf(stringify(info) ?? ""))
    return bytes
  }

  /** Makes what joins the publications of a namespace. */
  coalesce(namespace: Namespace.Namespace): Effect.Effect<void, InvalidOption, Hub | Scope.Scope> {
    if (namespace.coalesceWindow === 0) return Effect.void
    return Effect.map(
      Coalesce.make<BrokerPublish>({
        window: namespace.coalesceWindow,
        combine: (_, later) => later,
        canCombine: isReplacedBy,
        // Only the newest is kept, so a channel that is busy does not end its window early.
        keyBytes: Number.MAX_SAFE_INTEGER,
        size: ({ data }) => data.length,
        publish: (channel, publication) =>
          this.faults.attempt("publish", Effect.asVoid(this.broker.publish(channel, publication)))
      }),
      (coalescer) => {
        this.coalescers.set(namespace.name, coalescer)
      }
    )
  }
}
