/**
 * Compares where subscribers stand with where the broker's streams are, since the loss of a stream's last publications
 * shows in nothing that comes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Hash from "effect/Hash"
import type { LocalChannel } from "./LocalChannel.js"
import type { Node } from "./Node.js"

/** Positions that are asked for at the same time: a broker has a bound for all that it is asked, publications included. */
const mostComparisons = 5000

/** Milliseconds until positions are compared again that have to be. */
const soon = 1000

/** From 0 to 1: where in an interval the channel has its turn. Names that differ little are far from each other. */
const phaseOf = (channel: string): number => (Math.imul(Hash.string(channel), 0x9e3779b1) >>> 0) / 2 ** 32

const turnAfter = (channel: string, now: number, interval: number): number => {
  const phase = phaseOf(channel) * interval
  return phase + interval * (Math.floor((now - phase) / interval) + 1)
}

/** @internal */
export class PositionCheck {
  private readonly node: Node
  /** Channels whose position is being asked for. */
  private comparing = 0

  constructor(node: Node) {
    this.node = node
  }

  /** Compares what is due. */
  look(now: number): void {
    for (const channel of this.due(now)) {
      this.comparing++
      this.node.fork(Effect.ensuring(this.compare(channel), Effect.sync(() => this.comparing--)))
    }
  }

  /**
   * Channels with positioned subscribers whose turn has come, at most so many: the others come first the next time. Each
   * has its own turn within the interval, whenever its subscribers came.
   */
  private due(now: number): ReadonlyArray<LocalChannel> {
    const { config: { positionCheckInterval }, members } = this.node
    const due: Array<LocalChannel> = []
    for (const channel of members) {
      if (due.length >= mostComparisons - this.comparing) break
      if (channel.careful === 0) continue
      if (channel.checkAt === 0) channel.checkAt = turnAfter(channel.name, now, positionCheckInterval)
      if (now >= channel.checkAt) due.push(channel)
    }
    for (const channel of due) {
      channel.checkAt = turnAfter(channel.name, now, positionCheckInterval)
      members.putLast(channel)
    }
    return due
  }

  /** Who is behind is looked at again soon: once is not enough to know. */
  private compare(channel: LocalChannel): Effect.Effect<void> {
    const { node } = this
    const subscriptions = [...channel.subscriptions.values()]
    const namespace = Either.getOrUndefined(node.namespaceOf(channel.name))
    if (namespace === undefined) return Effect.void
    return Effect.match(node.read(channel.name, namespace, { limit: 0 }), {
      // Soon again, and later with each time that fails.
      onFailure: () => {
        channel.checkAt = Math.min(channel.checkAt, node.now() + soon * 2 ** channel.failures++)
      },
      onSuccess: ({ position }) => {
        channel.failures = 0
        for (const subscription of subscriptions) {
          if (subscription.isBehind(position)) subscription.session.onGap(subscription)
          else if (subscription.isSuspected) channel.checkAt = node.now() + soon
        }
      }
    })
  }
}
