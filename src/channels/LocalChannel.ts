/**
 * A channel that has members on this node: who they are, and what each is to get.
 *
 * @since 1.0.0
 */
import type { Connection } from "../core/Connection.js"
import type { PublishOptions } from "../core/Hub.js"
import type { Namespace } from "./Namespace.js"
import type { Live } from "./Recovery.js"
import type { Subscription } from "./Subscription.js"

/**
 * A reader in this process.
 *
 * @internal
 */
export interface Listener {
  readonly onLive: (live: Live) => void
  readonly onGap: () => void
  /** Nothing more comes: the service ends. */
  readonly onEnd: () => void
}

/** @internal */
export class LocalChannel {
  readonly name: string
  readonly topic: string
  /** By the connection's id. */
  readonly subscriptions = new Map<number, Subscription>()
  readonly listeners = new Set<Listener>()
  /** Whether the broker tells of it. */
  heard = false
  /** How many subscriptions must look at each publication, for their position or because they start. */
  careful = 0
  /** When positions are compared next. */
  checkAt = 0
  /** Comparisons that failed, one after the other. */
  failures = 0
  private readonly plain: PublishOptions

  constructor(name: string, namespace: Namespace) {
    this.name = name
    this.topic = `channel/${name}`
    this.plain = { key: namespace.overflow === "conflate" ? name : undefined, overflow: namespace.overflow }
  }

  get isEmpty(): boolean {
    return this.subscriptions.size === 0 && this.listeners.size === 0
  }

  /** Without a key, unless it is given: only a publication takes the place of another. */
  to(where: (subscription: Subscription) => boolean, key?: string): PublishOptions {
    return {
      key,
      overflow: this.plain.overflow,
      where: ({ id }: Connection) => {
        const subscription = this.subscriptions.get(id)
        return subscription !== undefined && where(subscription)
      }
    }
  }

  options(live: Live, onGap: (subscription: Subscription) => void): PublishOptions {
    if (this.careful === 0) return this.plain
    return this.to((subscription) => {
      const verdict = subscription.take(live)
      if (verdict === "gap") onGap(subscription)
      return verdict === "deliver"
    }, this.plain.key)
  }
}
