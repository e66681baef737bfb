/**
 * Where the laws of a broker are tried.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  Broker,
  type BrokerError,
  type BrokerEvent,
  type BrokerPublish,
  type HistoryRequest,
  type StreamOptions
} from "../channels/Broker.js"
import type { Publication, StreamPosition } from "../channels/Publication.js"
import { eventually, freshName, type Law, law, type LawBroken, type LawOptions, type Same, tickOf } from "./Law.js"

/**
 * What the laws need to know of a broker's surroundings.
 *
 * @since 1.0.0
 * @category models
 */
export interface BrokerLawsOptions<R> extends LawOptions<R> {
  /** Another node at the same broker, for as long as the scope lives. Absent: the laws are tried on one node alone. */
  readonly another?: Effect.Effect<Broker["Type"], never, R> | undefined
  /** Loses the stream of a channel, as a restart or a flush would. Absent: only time loses streams. */
  readonly lose?: ((channel: string) => Effect.Effect<unknown, never, R>) | undefined
}

/**
 * A publication with its data as a value, instead of its JSON text.
 *
 * @internal
 */
export type Valued<A extends { readonly data: string }> = Omit<A, "data"> & { readonly data: unknown }

/**
 * A broker as the laws use it: data are values.
 *
 * @internal
 */
export interface ValueBroker extends
  Pick<
    Broker["Type"],
    "unsafePublish" | "publishJoin" | "publishLeave" | "subscribe" | "unsubscribe" | "removeHistory" | "listen"
  >
{
  readonly publish: (
    channel: string,
    publication: Valued<BrokerPublish>
  ) => ReturnType<Broker["Type"]["publish"]>
  readonly history: (
    channel: string,
    request: HistoryRequest
  ) => Effect.Effect<
    { readonly position: StreamPosition; readonly publications: ReadonlyArray<Publication> },
    BrokerError
  >
}

/** @internal */
export const valued = (broker: Broker["Type"]): ValueBroker => ({
  ...broker,
  publish: (channel, publication) =>
    broker.publish(channel, { ...publication, data: JSON.stringify(publication.data) }),
  history: (channel, request) =>
    Effect.map(broker.history(channel, request), ({ position, publications }) => ({
      position,
      publications: publications.map((publication) => ({ ...publication, data: JSON.parse(publication.data) }))
    }))
})

const valueOf = (event: BrokerEvent) =>
  event._tag === "Published"
    ? { ...event, publication: { ...event.publication, data: JSON.parse(event.publication.data) as unknown } }
    : event

type Event = ReturnType<typeof valueOf>

/**
 * What a listener has heard of one channel.
 *
 * @internal
 */
export class Heard {
  private readonly all: Array<Event> = []

  /** Without gaps. */
  get events(): ReadonlyArray<Event> {
    return this.all.filter((event) => event._tag !== "Gap")
  }

  get data(): ReadonlyArray<unknown> {
    return this.all.flatMap((event) => event._tag === "Published" ? [event.publication.data] : [])
  }

  get offsets(): ReadonlyArray<number> {
    return this.all.flatMap((event) => event._tag === "Published" ? [event.publication.offset] : [])
  }

  get epochs(): ReadonlyArray<string> {
    return this.all.flatMap((event) => event._tag === "Published" ? [event.epoch] : [])
  }

  /** Something may be missing, and the broker says so. */
  get gap(): boolean {
    return this.all.some((event) => event._tag === "Gap")
  }

  static listen(broker: Pick<Broker["Type"], "listen">, channel: string): Effect.Effect<Heard, never, Scope.Scope> {
    return Effect.suspend(() => {
      const heard = new Heard()
      const listener = (event: BrokerEvent) => {
        if (event.channel === channel) heard.all.push(valueOf(event))
      }
      return Effect.as(broker.listen(listener), heard)
    })
  }
}

/**
 * A channel of its own for each law, and what is done there.
 *
 * @internal
 */
export interface Stage<R> {
  readonly same: Same
  readonly channel: string
  readonly node: ValueBroker
  /** The same node, if there is no other. */
  readonly other: ValueBroker
  readonly tick: number
  readonly wait: (ticks: number) => Effect.Effect<unknown, never, R>
  /** Kept for longer than any law takes. */
  readonly stream: StreamOptions
  /** All nodes hear of the channel, until the law is done. */
  readonly subscribe: Effect.Effect<void, BrokerError, Scope.Scope>
  /** Waits until so much was heard, but not for ever. */
  readonly until: (heard: Heard, count: number) => Effect.Effect<void, never, R>
  readonly lose: ((channel: string) => Effect.Effect<unknown, never, R>) | undefined
}

/** @internal */
export type BrokerLaw<R> = Law<BrokerError, R | Broker | Scope.Scope>

/** @internal */
export const onStage = <R>(options: BrokerLawsOptions<R>) =>
(
  name: string,
  body: (stage: Stage<R>) => Effect.Effect<unknown, LawBroken | BrokerError, R | Scope.Scope>
): BrokerLaw<R> =>
  law(name, (same) =>
    Effect.gen(function*() {
      const node = valued(yield* Broker)
      const other = options.another === undefined ? node : valued(yield* options.another)
      const channel = yield* freshName
      const tick = tickOf(options)
      return yield* body({
        same,
        channel,
        node,
        other,
        tick,
        wait: (ticks) => options.wait(ticks * tick),
        stream: { size: 100, ttl: 600 * tick, metaTtl: 1200 * tick },
        subscribe: Effect.forEach(
          new Set([node, other]),
          (each) => Effect.acquireRelease(each.subscribe(channel), () => Effect.ignore(each.unsubscribe(channel))),
          {
            discard: true
          }
        ),
        until: (heard, count) => eventually(options, () => heard.events.length >= count),
        lose: options.lose
      })
    }))

/** @internal */
export type OnStage<R> = ReturnType<typeof onStage<R>>

/** @internal */
export const upTo = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index + 1)
