/**
 * Who is connected, and whether another may come.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Random from "effect/Random"
import { reasons } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import type { HubConfig } from "./HubConfig.js"
import { TooManyConnections } from "./HubError.js"
import * as HubMetrics from "./HubMetrics.js"
import type { LiveConnection } from "./LiveConnection.js"
import { Signal, within } from "./Signal.js"

/** Milliseconds between two batches of a drain. */
const tick = 100

/**
 * The connections of a hub, from their acceptance until nothing is left of them. Adding and removing are synchronous, so
 * that no end of a connection ever waits for the hub.
 *
 * @internal
 */
export class Registry {
  readonly connections = new Map<number, LiveConnection>()
  private readonly addresses = new Map<string, number>()
  private readonly left = new Signal()
  private readonly config: HubConfig

  constructor(config: HubConfig) {
    this.config = config
  }

  add(connection: LiveConnection): void {
    this.connections.set(connection.id, connection)
    this.count(connection, 1)
  }

  remove(connection: LiveConnection): void {
    this.connections.delete(connection.id)
    this.count(connection, -1)
    this.left.notify()
  }

  /** Why a peer of this address would be one too many after these others, if it would. */
  full(remoteAddress: Option.Option<string>, others: number): TooManyConnections | undefined {
    const { connections, connectionsPerAddress } = this.config
    if (this.connections.size + others >= connections) {
      return new TooManyConnections({ scope: "hub", limit: connections })
    }
    return remoteAddress._tag === "Some" && (this.addresses.get(remoteAddress.value) ?? 0) >= connectionsPerAddress
      ? new TooManyConnections({ scope: "address", limit: connectionsPerAddress })
      : undefined
  }

  /**
   * Runs `before`, then ends the chosen connections in paced batches, and cuts off those that are left at the deadline.
   * Completes when none is left. `onBatch` runs after each batch.
   */
  drain(
    filter: (connection: Connection) => boolean,
    onBatch: () => void,
    before: Effect.Effect<unknown>
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      const chosen = Array.from(this.connections.values()).filter(filter)
      let first = 0
      const allLeft = () => {
        let next = chosen[first]
        while (next !== undefined && !this.connections.has(next.id)) next = chosen[++first]
        return next === undefined
      }
      const { drainDeadline, drainPace } = this.config
      const ticks = Math.max(1, Math.floor(drainDeadline / 2 / tick))
      const size = Math.max(Math.ceil(drainPace * tick / 1000), Math.ceil(chosen.length / ticks))
      const end = Effect.gen(this, function*() {
        yield* before
        // Not in the order of arrival, so that those who came together do not return together.
        const order = Array.from(chosen.length > size ? yield* Random.shuffle(chosen) : chosen)
        for (let from = 0; from < order.length; from += size) {
          if (from > 0) yield* Effect.sleep(tick)
          for (const connection of order.slice(from, from + size)) connection.end(reasons.drain)
          onBatch()
        }
        yield* this.left.until(allLeft)
      })
      const cutOff = Effect.suspend(() => {
        for (const connection of chosen) {
          connection.end(reasons.drain)
          if (this.connections.has(connection.id)) connection.terminate()
        }
        return this.left.until(allLeft)
      })
      return Effect.zipRight(within(end, drainDeadline), cutOff)
    })
  }

  private count(connection: LiveConnection, by: 1 | -1): void {
    HubMetrics.connections.unsafeModify(by, [])
    const { remoteAddress } = connection.handshake
    if (this.config.connectionsPerAddress === Infinity || remoteAddress._tag === "None") return
    const total = (this.addresses.get(remoteAddress.value) ?? 0) + by
    if (total === 0) this.addresses.delete(remoteAddress.value)
    else this.addresses.set(remoteAddress.value, total)
  }
}
