/**
 * Where a hub stands, and what happens in it.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CloseReason } from "./CloseReason.js"
import type { Connection } from "./Connection.js"

/**
 * Where a hub stands. It takes connections while it is `Open`, and it never goes back.
 *
 * @since 1.0.0
 * @category models
 */
export type HubState = "Starting" | "Open" | "Draining" | "Closed"

/**
 * What happens in a hub. `Overflow` is told once each time a connection falls behind; `Draining` tells how many
 * connections are left, after each batch.
 *
 * @since 1.0.0
 * @category models
 */
export type HubEvent = Data.TaggedEnum<{
  Opened: { readonly connection: Connection }
  Closed: { readonly connection: Connection; readonly reason: CloseReason }
  Overflow: { readonly connection: Connection }
  StateChanged: { readonly state: HubState }
  Draining: { readonly remaining: number }
}>

/**
 * Constructors and matchers of {@link HubEvent}.
 *
 * @since 1.0.0
 * @category constructors
 */
export const HubEvent = Data.taggedEnum<HubEvent>()

/**
 * The hub's state and the events that tell of it and of everything else. Emitting never waits.
 *
 * @internal
 */
export class HubEvents {
  state: HubState = "Starting"
  private readonly pubsub: PubSub.PubSub<HubEvent>
  private readonly fork: (effect: Effect.Effect<unknown>) => void

  constructor(pubsub: PubSub.PubSub<HubEvent>, fork: (effect: Effect.Effect<unknown>) => void) {
    this.pubsub = pubsub
    this.fork = fork
  }

  emit(event: HubEvent): void {
    // A full sliding PubSub makes room in `publish` alone.
    if (!this.pubsub.unsafeOffer(event)) this.fork(PubSub.publish(this.pubsub, event))
  }

  enter(state: HubState): void {
    this.state = state
    this.emit(HubEvent.StateChanged({ state }))
  }

  /** What happens from when the effect completes, up to and including the end. */
  get subscribe(): Effect.Effect<Stream.Stream<HubEvent>, never, Scope.Scope> {
    return Effect.map(PubSub.subscribe(this.pubsub), (queue) =>
      this.state === "Closed"
        ? Stream.empty
        : Stream.takeUntil(
          Stream.fromQueue(queue),
          (event) => event._tag === "StateChanged" && event.state === "Closed"
        ))
  }
}
